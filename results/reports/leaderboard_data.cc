#include "results/reports/leaderboard_data.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "core/json_reader.h"
#include "results/reports/format.h"
#include "results/reports/matching_runs.h"
#include "results/reports/picked_responses.h"

namespace strata {
namespace {

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

class Loader {
 public:
  Loader(const Store& store, const LeaderboardRequest& request)
      : store_(store), request_(request) {}

  Result<LeaderboardData> load() {
    ASSIGN_OR_RETURN(const std::vector<RunRow> runs, store_.runs());
    ASSIGN_OR_RETURN(executions_, all_executions(store_));
    // (label, transfer, experiment, split, calibration data, kind of units, group) → the latest
    // run; runs come by start. Two calibration seeds that select the same plan are two runs, as are
    // layers and heads that come out as the same plan; full and none have no units.
    std::map<std::array<std::string, 7>, Candidate> latest;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const RunRow& run = runs[i];
      const bool text = run.benchmark == kRunningText;
      if (!matches(run, text)) continue;
      Candidate candidate{.index = i,
                          .shown = !request_.benchmark || run.benchmark == *request_.benchmark};
      if (run.selection_id) {
        ASSIGN_OR_RETURN(candidate.selection, store_.selection(*run.selection_id));
      }
      ASSIGN_OR_RETURN(const bool wanted, group(run, candidate));
      if (!wanted && !text) continue;
      candidate.shown = candidate.shown && wanted;
      if (run.status != RunStatus::kDone || !run.experiment_id) {
        unfinished_[std::string(to_string(run.status))] += candidate.shown ? 1 : 0;
        continue;
      }
      candidate.transfer = transfer_of(run, candidate.selection);
      candidate.split = evaluated_split(run);
      const std::string calibration =
          candidate.selection ? candidate.selection->calibration_id : "";
      const std::string units =
          run.budget_fraction || run.budget_units ? std::string(to_string(run.granularity)) : "";
      latest[{run.label, candidate.transfer, *run.experiment_id, candidate.split, calibration,
              units, candidate.by}] = std::move(candidate);
    }
    if (!request_.where.empty() || !request_.by.empty())
      RETURN_IF_ERROR(seen_.check(request_.where, request_.by, store_.path()));
    if (!any_matched_ && !request_.where.empty())
      out_.notes.push_back("no run matches " + seen_.why_none(request_.where));
    std::vector<Candidate*> chosen;
    chosen.reserve(latest.size());
    for (auto& [key, candidate] : latest) chosen.push_back(&candidate);
    std::sort(chosen.begin(), chosen.end(),
              [](const Candidate* a, const Candidate* b) { return a->index < b->index; });
    for (Candidate* candidate : chosen)
      RETURN_IF_ERROR(add(runs[candidate->index], std::move(*candidate)));
    std::erase_if(unfinished_, [](const auto& entry) { return entry.second == 0; });
    for (const auto& [status, count] : unfinished_)
      out_.notes.push_back(
          fmt::format("{} run{} not shown: {}", count, count == 1 ? "" : "s", status));
    return std::move(out_);
  }

 private:
  // A run that may be shown.
  struct Candidate {
    std::size_t index = 0;
    std::optional<SelectionRow> selection = {};
    bool shown = true;
    std::string transfer = {}, split = {}, by = {};
  };

  // Whether a filter on `key` lets a run through whatever its value: full attention whatever speaks
  // of selections or mixers, none whatever speaks of selections, draws and offsets whatever they
  // were calibrated on.
  static bool is_spared(const RunRow& run, const std::string& key) {
    if (run.group == "random" || run.group == "periodic") return key.starts_with("calibration.");
    const auto of = [&](std::string_view name) {
      return key == name || key.starts_with(fmt::format("{}.", name));
    };
    const bool task = of("benchmark") || of("model") || of("device") || of("dtype");
    const bool mixer = of("mixer") || key == "window" || key == "sinks" || key == "decode_rule";
    if (run.group == "full") return !task;
    return run.group == "none" && !task && !mixer;
  }

  // Takes the values of the keys that are grouped by; false where a filter does not match. Full and
  // none belong to every group.
  Result<bool> group(const RunRow& run, Candidate& candidate) {
    if (request_.where.empty() && request_.by.empty()) return true;
    const ModelRow* model = nullptr;
    if (run.experiment_id) {
      ASSIGN_OR_RETURN(const ExperimentRow experiment, store_.experiment(*run.experiment_id));
      ASSIGN_OR_RETURN(models_[experiment.model_id], store_.model(experiment.model_id));
      model = &models_[experiment.model_id];
    }
    const StoredKeys keys(run, candidate.selection ? &*candidate.selection : nullptr, model);
    seen_.add(keys, request_.where);
    const bool reference = run.group == "full" || run.group == "none";
    for (const std::string& key : request_.by)
      if (!reference)
        candidate.by += fmt::format("{}{}={}", candidate.by.empty() ? "" : " ", key,
                                    keys.value(key).value_or(kNoValue));
    const bool wanted =
        std::all_of(request_.where.begin(), request_.where.end(), [&](const KeyFilter& filter) {
          return is_spared(run, filter.key) || keys.matches(filter);
        });
    any_matched_ |= std::all_of(request_.where.begin(), request_.where.end(),
                                [&](const KeyFilter& filter) { return keys.matches(filter); });
    return wanted;
  }

  bool matches(const RunRow& run, bool text) const {
    if (request_.benchmark && run.benchmark != *request_.benchmark && !text) return false;
    if (run.group == "full") return true;  // the reference of every window, rule and budget
    if (request_.decode_rule && run.decode_rule != *request_.decode_rule) return false;
    return !request_.window || run.window == *request_.window;
  }

  Status add(const RunRow& run, Candidate candidate) {
    ASSIGN_OR_RETURN(const ExperimentRow experiment, store_.experiment(*run.experiment_id));
    if (!out_.models.contains(experiment.model_id)) {
      ASSIGN_OR_RETURN(out_.models[experiment.model_id], store_.model(experiment.model_id));
    }
    if (request_.model && !names_model(out_.models[experiment.model_id], *request_.model))
      return {};
    if (!out_.data.contains(experiment.data_id)) {
      DataFacts facts;
      ASSIGN_OR_RETURN(facts.row, store_.data(experiment.data_id));
      ASSIGN_OR_RETURN(facts.samples, store_.samples_of(experiment.data_id));
      std::vector<std::string> names;
      for (const DataRow::Item& item : facts.row.items) names.push_back(item.cluster);
      facts.clusters = cluster_numbers(names);
      out_.data.emplace(experiment.data_id, std::move(facts));
    }
    ASSIGN_OR_RETURN(const PlanRow plan_row, store_.plan(experiment.plan_id));
    ASSIGN_OR_RETURN(AttentionPlan plan, parse_plan(plan_row));
    Evaluation evaluation{.run = run,
                          .split = std::move(candidate.split),
                          .transfer = std::move(candidate.transfer),
                          .experiment = experiment,
                          .plan = std::move(plan),
                          .selection = std::move(candidate.selection),
                          .shown = candidate.shown,
                          .by = std::move(candidate.by),
                          .training = {},
                          .nll = {},
                          .gen_contains = {},
                          .gen_exact = {},
                          .string_match = {},
                          .tf_exact = {},
                          .prefill_flops = {},
                          .decode_flops = {},
                          .kv_bytes = {},
                          .prefill_ms = {},
                          .decode_ms = {},
                          .peak_bytes = {},
                          .environments = {},
                          .executions = {}};
    if (evaluation.selection) take_training(evaluation);
    ASSIGN_OR_RETURN(const bool complete, read_responses(evaluation));
    if (complete) out_.evaluations.push_back(std::move(evaluation));
    return {};
  }

  // (The column may have been edited by hand.)
  void take_training(Evaluation& evaluation) {
    const nlohmann::json all =
        parse_json(evaluation.selection->diagnostics_json).value_or(nlohmann::json());
    nlohmann::json training = all.is_object() ? all.value("trained", nlohmann::json()) : all;
    if (!training.is_object()) return;
    for (const char* key : {"parent", "text", "label", "group", "supervision"})
      if (!training.contains(key) || !training[key].is_string()) return;
    evaluation.run.label = training["label"].get<std::string>();
    evaluation.run.group = training["group"].get<std::string>();
    evaluation.selection->supervision = training["supervision"].get<std::string>();
    for (const char* own : {"label", "group", "supervision"}) training.erase(own);
    evaluation.training = training.dump();
    ModelRow& model = out_.models[evaluation.training];
    model = out_.models.at(evaluation.experiment.model_id);
    model.id = training["parent"].get<std::string>();
    const Result<ModelRow> parent = store_.model(model.id);
    const nlohmann::json::json_pointer rate("/weights/rate");
    model.name = fmt::format(
        "trained from {}: {} steps of {} prompts of text {:.8} at rate {}, seed {}",
        parent ? parent->name : "a model that is not recorded", training["steps"].dump(),
        training["batch"].dump(), training["text"].get<std::string>(),
        training.contains(rate) ? training[rate].dump() : "?", training["seed"].dump());
  }

  // False where a sample has no response.
  Result<bool> read_responses(Evaluation& evaluation) {
    const DataRow& data = out_.data.at(evaluation.experiment.data_id).row;
    ASSIGN_OR_RETURN(const PickedResponses* const answers, answers_to(evaluation.experiment, data));
    const PickedResponses& picked = *answers;
    const std::string run =
        fmt::format("{} (run {})", evaluation.name(), evaluation.run.id.substr(0, 8));
    if (picked.responses.size() != data.items.size() || data.items.empty()) {
      out_.notes.push_back(fmt::format("{} not shown: {} of {} samples have a response", run,
                                       picked.responses.size(), data.items.size()));
      return false;
    }
    if (picked.disagreeing_samples > 0)
      out_.notes.push_back(fmt::format("{}: executions disagree on {} of {} samples", run,
                                       picked.disagreeing_samples, data.items.size()));
    for (const ResponseRow& response : picked.responses) append(evaluation, response);
    drop_partial(evaluation, data.items.size());
    evaluation.environments = picked.environments;
    evaluation.executions = picked.samples_of_execution;
    return true;
  }

  // Runs that chose the same plan share an experiment, which is read once.
  Result<const PickedResponses*> answers_to(const ExperimentRow& experiment, const DataRow& data) {
    const auto known = answers_.find(experiment.id);
    if (known != answers_.end()) return &known->second;
    ASSIGN_OR_RETURN(PickedResponses picked, pick_responses(store_, executions_, experiment, data));
    for (ResponseRow& response : picked.responses) {  // may be long, and nobody reads them
      response.text = {};
      response.tokens = response.argmax = {};
    }
    return &answers_.emplace(experiment.id, std::move(picked)).first->second;
  }

  static void append(Evaluation& evaluation, const ResponseRow& response) {
    const auto take = [](const std::map<std::string, double>& from, const char* name, auto& to) {
      if (const auto it = from.find(name); it != from.end()) to.push_back(it->second);
    };
    if (!response.answer_nll.empty()) evaluation.nll.push_back(mean(response.answer_nll));
    take(response.metrics, "gen_contains", evaluation.gen_contains);
    take(response.metrics, "gen_exact", evaluation.gen_exact);
    take(response.metrics, "tf_exact", evaluation.tf_exact);
    take(response.metrics,
         response.metrics.contains("string_match_all") ? "string_match_all" : "string_match_part",
         evaluation.string_match);
    take(response.timings_ms, "prefill_ms", evaluation.prefill_ms);
    take(response.timings_ms, "decode_ms", evaluation.decode_ms);
    evaluation.prefill_flops.push_back(response.prefill_flops);
    evaluation.decode_flops.push_back(response.decode_flops);
    evaluation.kv_bytes.push_back(static_cast<double>(response.kv_bytes));
    if (response.peak_bytes)
      evaluation.peak_bytes.push_back(static_cast<double>(*response.peak_bytes));
  }

  static void drop_partial(Evaluation& evaluation, std::size_t samples) {
    for (std::vector<double>* metric :
         {&evaluation.nll, &evaluation.gen_contains, &evaluation.gen_exact, &evaluation.tf_exact,
          &evaluation.string_match})
      if (metric->size() != samples) metric->clear();
  }

  const Store& store_;
  const LeaderboardRequest& request_;
  LeaderboardData out_;
  Executions executions_;
  std::map<std::string, PickedResponses> answers_;  // by experiment
  std::map<std::string, ModelRow> models_;
  SeenKeys seen_;
  bool any_matched_ = false;
  std::map<std::string, int> unfinished_;
};

bool is_full(const PaletteEntry& entry) {
  return std::holds_alternative<FullAttention>(entry.mixer);
}

}  // namespace

Result<LeaderboardData> load_leaderboard_data(const Store& store,
                                              const LeaderboardRequest& request) {
  return Loader(store, request).load();
}

std::string evaluated_split(const RunRow& run) {
  const auto config = parse_json(run.benchmark_config_json).value_or(nlohmann::json());
  const auto split = config.is_object() ? config.find("split") : config.end();
  return split != config.end() && split->is_string() ? split->get<std::string>() : kTestSplit;
}

nlohmann::json calibration_benchmark(const RunRow& run) {
  const auto config = parse_json(run.config_json).value_or(nlohmann::json());
  const nlohmann::json::json_pointer place("/calibration/benchmark");
  return config.is_object() && config.contains(place) ? config[place] : nlohmann::json();
}

std::string transfer_of(const RunRow& run, const std::optional<SelectionRow>& selection) {
  const bool looked = (selection && !selection->calibration_id.empty()) || run.calibration_nll;
  if (!looked) return "";
  const nlohmann::json other = calibration_benchmark(run);
  const auto evaluated = parse_json(run.benchmark_config_json).value_or(nlohmann::json());
  if (!other.is_object() || !evaluated.is_object()) return "";
  nlohmann::json differing = nlohmann::json::object();
  for (const auto& [key, value] : other.items())
    if (key != "name" && evaluated.contains(key) && evaluated[key] != value) differing[key] = value;
  const std::string name = other.contains("name") && other["name"].is_string() ? other["name"] : "";
  if (differing.empty() && name == run.benchmark) return "";
  const std::string keys = config_text(differing.dump());
  return name + (keys.empty() ? "" : " ") + keys;
}

std::string linear_of(const RunRow& run, const AttentionPlan* plan) {
  std::string kinds;
  if (plan != nullptr && !plan->is_full()) {
    for (const PaletteEntry& entry : plan->palette())
      if (const auto* linear = std::get_if<LinearAttention>(&entry.mixer))
        kinds += fmt::format("{}{}", kinds.empty() ? "" : ", ", to_string(linear->kind));
    return kinds;
  }
  // (The column may have been edited by hand.)
  const auto config = parse_json(run.config_json).value_or(nlohmann::json());
  const nlohmann::json::json_pointer place("/mixer/linear");
  return config.is_object() && config.contains(place) && config[place].is_string()
             ? config[place].get<std::string>()
             : kinds;
}

bool is_drawn(const Evaluation& evaluation) {
  return evaluation.run.group == "random" || evaluation.run.group == "periodic";
}

bool is_control(const Evaluation& evaluation) {
  return is_drawn(evaluation) || evaluation.run.group == "inverted";
}

std::string with_transfer(const std::string& label, const std::string& transfer) {
  return transfer.empty() ? label : label + kTransferSign + transfer;
}

std::string Evaluation::name() const { return with_transfer(run.label, transfer); }

RowSource Evaluation::source() const {
  return {run.id, run.selection_id.value_or(""), experiment.id, executions};
}

std::int64_t kept_units(const AttentionPlan& plan, Granularity granularity) {
  const HeadLayout& layout = plan.layout();
  const int units = layout.units_per_layer(granularity);
  const int heads = layout.query_heads / units;
  std::int64_t kept = 0;
  for (int layer = 0; layer < layout.layers; ++layer)
    for (int unit = 0; unit < units; ++unit) {
      bool all = true;
      for (int head = unit * heads; head < (unit + 1) * heads; ++head)
        all &= is_full(plan.entry(layer, head));
      kept += all ? 1 : 0;
    }
  return kept;
}

double kv_share(const AttentionPlan& plan) {
  const HeadLayout& layout = plan.layout();
  const int group = layout.query_heads / layout.kv_heads;
  int kept = 0;
  for (int layer = 0; layer < layout.layers; ++layer)
    for (int cell = 0; cell < layout.kv_heads; ++cell) {
      bool any = false;
      for (int head = cell * group; head < (cell + 1) * group; ++head)
        any |= is_full(plan.entry(layer, head));
      kept += any ? 1 : 0;
    }
  return static_cast<double>(kept) / (layout.layers * layout.kv_heads);
}

LayerStrip strip_of(const AttentionPlan& plan) {
  const HeadLayout& layout = plan.layout();
  LayerStrip strip{.kept_share = {}, .units_per_layer = layout.units_per_layer(plan.granularity())};
  for (int layer = 0; layer < layout.layers; ++layer) {
    int kept = 0;
    for (int head = 0; head < layout.query_heads; ++head)
      kept += is_full(plan.entry(layer, head)) ? 1 : 0;
    strip.kept_share.push_back(static_cast<double>(kept) / layout.query_heads);
  }
  return strip;
}

std::optional<bool> is_beyond_window(const SampleRow& sample, std::int64_t window) {
  if (window == 0) return std::nullopt;
  const auto metadata = parse_json(sample.metadata_json).value_or(nlohmann::json());
  if (!metadata.is_object()) return std::nullopt;
  // The distance holds for every window; the flag only for the one the sample was made with.
  if (const auto it = metadata.find("distance"); it != metadata.end() && it->is_number_integer())
    return it->get<std::int64_t>() >= window;
  if (const auto it = metadata.find("beyond_window"); it != metadata.end() && it->is_boolean())
    return it->get<bool>();
  return std::nullopt;
}

bool names_model(const ModelRow& model, std::string_view text) {
  return model.name == text || (!text.empty() && model.id.starts_with(text));
}

}  // namespace strata
