#include "results/reports/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/json_reader.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/picked_responses.h"
#include "results/reports/stored_keys.h"

namespace strata {
namespace {

constexpr const char* kNll = "answer_nll";
constexpr std::array kAnswerMetrics = {"gen_contains", "string_match_all", "string_match_part",
                                       "tf_exact"};
constexpr double kAlpha = 0.05;
constexpr std::size_t kPromptEnd = 50;  // bytes that are shown
constexpr std::size_t kText = 32;

struct Answers {
  RunRow run;
  ComparedRun about;
  DataRow data;
  std::map<std::string, ResponseRow> by_sample;
};

std::optional<double> metric_of(const ResponseRow& response, const std::string& name) {
  if (name == kNll)
    return response.answer_nll.empty() ? std::nullopt
                                       : std::optional(mean_of(response.answer_nll).value);
  const auto it = response.metrics.find(name);
  return it == response.metrics.end() ? std::nullopt : std::optional(it->second);
}

Result<Answers> answers_of(const Store& store, const Executions& executions, const RunRow& run) {
  Answers out{.run = run};
  if (!run.experiment_id)
    return fail(make_error(ErrorKind::kInvalidArgument, "run {} ({}) has no answers",
                           run.id.substr(0, 8), run.label)
                    .at(store.path())
                    .with_hint("'strata report run' says what became of it"));
  ASSIGN_OR_RETURN(const ExperimentRow experiment, store.experiment(*run.experiment_id));
  ASSIGN_OR_RETURN(out.data, store.data(experiment.data_id));
  ASSIGN_OR_RETURN(const ModelRow model, store.model(experiment.model_id));
  ASSIGN_OR_RETURN(PickedResponses picked, pick_responses(store, executions, experiment, out.data));
  out.about = {.label = run.label,
               .model_name = model.name,
               .plan_id = experiment.plan_id,
               .environments = std::move(picked.environments),
               .source = {run.id, run.selection_id.value_or(""), experiment.id,
                          std::move(picked.samples_of_execution)}};
  for (ResponseRow& response : picked.responses) {
    std::string id = response.sample_id;
    out.by_sample.emplace(std::move(id), std::move(response));
  }
  return out;
}

// One metric of both on the samples that have it, with their clusters.
struct Paired {
  std::vector<double> first, second, differences;
  std::vector<std::size_t> clusters;
  std::size_t cluster_count = 0;
  bool independent() const { return cluster_count == differences.size(); }
  bool varies() const {
    return std::adjacent_find(differences.begin(), differences.end(), std::not_equal_to<>()) !=
           differences.end();
  }
  bool binary() const {
    const auto is_bit = [](double value) { return value == 0 || value == 1; };
    return std::all_of(first.begin(), first.end(), is_bit) &&
           std::all_of(second.begin(), second.end(), is_bit);
  }
  // Independent values: the differences, or their means over clusters.
  std::vector<double> by_cluster() const {
    return independent() ? differences : cluster_means(differences, clusters);
  }
  // The smallest value but 0 that one of these can have; 0 = any.
  double step() const {
    if (!binary()) return 0;
    std::vector<double> sizes(cluster_count);
    for (const std::size_t cluster : clusters) ++sizes[cluster];
    return 1 / *std::max_element(sizes.begin(), sizes.end());
  }
};

Paired paired(const Answers& first, const Answers& second, const std::string& metric) {
  Paired out;
  std::vector<std::string> names;
  for (const DataRow::Item& item : first.data.items) {
    const auto a = first.by_sample.find(item.sample_id);
    const auto b = second.by_sample.find(item.sample_id);
    if (a == first.by_sample.end() || b == second.by_sample.end()) continue;
    const auto of_a = metric_of(a->second, metric);
    const auto of_b = metric_of(b->second, metric);
    if (!of_a || !of_b) continue;
    out.first.push_back(*of_a);
    out.second.push_back(*of_b);
    out.differences.push_back(*of_b - *of_a);
    names.push_back(item.cluster);
  }
  out.clusters = cluster_numbers(names);
  for (const std::size_t cluster : out.clusters)
    out.cluster_count = std::max(out.cluster_count, cluster + 1);
  return out;
}

void test(const Paired& values, std::uint64_t seed, MetricComparison& out) {
  if (values.differences.size() > 1 && !mean_of(values.differences).standard_error) {
    out.test = "too large";
    return;
  }
  if (values.binary() && values.independent()) {
    std::size_t only_first = 0, only_second = 0;
    for (const double difference : values.differences) {
      only_first += difference < 0 ? 1U : 0U;
      only_second += difference > 0 ? 1U : 0U;
    }
    out.test = "McNemar";
    out.p = mcnemar_exact(only_first, only_second);
    return;
  }
  if (values.independent()) out.paired_t_p = paired_t_test(values.second, values.first);
  const PValue flipped = cluster_sign_flip(values.differences, values.clusters, {.seed = seed});
  if (const double* p = std::get_if<double>(&flipped)) {
    out.test = "sign flip";
    out.p = *p;
  } else {
    out.test =
        fmt::format("too few clusters ({} of {})", values.cluster_count, kClustersForInference);
  }
}

// What so many clusters can show beyond the test.
void add_equivalence(const Paired& values, MetricComparison& out) {
  if (out.metric == kNll) out.margin = kNllMargin;
  if (values.binary()) out.margin = kPointsMargin;
  const std::vector<double> independent = values.by_cluster();
  if (out.margin) out.equivalence = EquivalenceTest{.mean = mean_of(independent).value};
  const double error = mean_of(independent).standard_error.value_or(0);
  const double step = values.step();
  // Differences that are all the same say nothing of how much others would vary.
  const bool varies = (values.varies() && error > 0) || step > out.margin.value_or(0);
  if (!varies || independent.size() < kClustersForInference) return;
  const auto n = static_cast<double>(independent.size());
  out.detectable =
      minimum_detectable_difference(error * std::sqrt(n), independent.size(), kAlpha, kPower, step);
  if (out.margin) out.equivalence = equivalence(independent, *out.margin, kAlpha, step);
}

MetricComparison compare_metric(const std::string& name, const Paired& values, std::uint64_t seed) {
  MetricComparison out{.metric = name, .samples = values.differences.size()};
  out.first = mean_of(values.first).value;
  out.second = mean_of(values.second).value;
  out.difference = mean_estimate(values.differences, {.seed = seed, .clusters = values.clusters});
  // An interval of no width would be a false certainty.
  if (!values.varies()) out.difference.interval.reset();
  test(values, seed, out);
  add_equivalence(values, out);
  return out;
}

// Whole code points of a text that may be anything, without line breaks.
std::string printable_text(std::string_view text) {
  const std::string valid = nlohmann::json(std::string(text))
                                .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out = nlohmann::json::parse(valid).get<std::string>();
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return out;
}

std::string beginning(const std::string& text, std::size_t bytes) {
  return text.size() <= bytes ? printable_text(text) : printable_text(text.substr(0, bytes)) + "…";
}

std::string end_of(const std::string& text, std::size_t bytes) {
  return text.size() <= bytes ? printable_text(text)
                              : "…" + printable_text(text.substr(text.size() - bytes));
}

std::string answer_metric(const std::vector<MetricComparison>& metrics) {
  const MetricComparison* most = nullptr;
  for (const char* name : kAnswerMetrics)
    for (const MetricComparison& metric : metrics)
      if (metric.metric == name && (most == nullptr || metric.samples > most->samples))
        most = &metric;
  return most == nullptr ? "" : most->metric;
}

// (A model may say nothing: no tokens, but scored as generated.)
bool generated(const ResponseRow& response) {
  return !response.tokens.empty() || response.metrics.contains(kAnswerMetrics[0]);
}

Status find_changed(const Store& store, const Answers& first, const Answers& second,
                    const CompareRequest& request, RunComparison& out) {
  for (const DataRow::Item& item : first.data.items) {
    const auto a = first.by_sample.find(item.sample_id);
    const auto b = second.by_sample.find(item.sample_id);
    if (a == first.by_sample.end() || b == second.by_sample.end()) continue;
    ChangedSample changed{.sample_id = item.sample_id,
                          .first_text = beginning(a->second.text, kText),
                          .second_text = beginning(b->second.text, kText),
                          .first_right = metric_of(a->second, out.answer_metric),
                          .second_right = metric_of(b->second, out.answer_metric)};
    const auto nll_a = metric_of(a->second, kNll), nll_b = metric_of(b->second, kNll);
    if (nll_a && nll_b) changed.nll_change = *nll_b - *nll_a;
    const bool both_generated = generated(a->second) && generated(b->second);
    const bool other_text = both_generated && a->second.text != b->second.text;
    out.texts += both_generated ? 1U : 0U;
    out.different_texts += other_text ? 1U : 0U;
    out.changed_answers += changed.answer_changed() ? 1U : 0U;
    if (other_text || changed.answer_changed()) out.changed.push_back(std::move(changed));
  }
  std::stable_sort(out.changed.begin(), out.changed.end(), [](const auto& x, const auto& y) {
    const auto order = [](const ChangedSample& sample) {
      return std::pair(sample.answer_changed(), std::abs(sample.nll_change.value_or(0)));
    };
    return order(x) > order(y);
  });
  if (out.changed.size() > request.samples) out.changed.resize(request.samples);
  if (out.changed.empty()) return {};
  ASSIGN_OR_RETURN(const std::vector<SampleRow> samples, store.samples_of(first.data.id));
  std::map<std::string, const SampleRow*> by_id;
  for (const SampleRow& sample : samples) by_id[sample.id] = &sample;
  for (ChangedSample& changed : out.changed) {
    const SampleRow& sample = *by_id.at(changed.sample_id);
    changed.prompt_end = end_of(sample.prompt_text, kPromptEnd);
    if (!sample.answers.empty()) changed.answer = beginning(sample.answers[0], kText);
  }
  return {};
}

Result<RunComparison> compare(const Store& store, const Answers& first, const Answers& second,
                              const CompareRequest& request) {
  RunComparison out{.first = first.about, .second = second.about};
  std::set<std::string> metrics;
  for (const auto& [sample, response] : first.by_sample) {
    const auto other = second.by_sample.find(sample);
    if (other == second.by_sample.end()) {
      ++out.only_first;
      continue;
    }
    ++out.shared;
    for (const auto& [name, value] : response.metrics) metrics.insert(name);
  }
  out.only_second = second.by_sample.size() - out.shared;
  if (out.shared == 0)
    return fail(
        make_error(ErrorKind::kInvalidArgument, "{} and {} have no sample in common",
                   first.about.label, second.about.label)
            .at(store.path())
            .with_hint("runs are compared on the samples that both answered: the same benchmark, "
                       "settings and benchmark.seed give the same samples"));
  metrics.erase(kNll);
  std::vector<std::string> order = {kNll};
  order.insert(order.end(), metrics.begin(), metrics.end());
  std::vector<double> p;
  for (const std::string& name : order) {
    const Paired values = paired(first, second, name);
    if (values.differences.empty()) continue;
    out.clusters = std::max(out.clusters, values.cluster_count);
    out.metrics.push_back(compare_metric(name, values, request.seed));
    if (out.metrics.back().p) p.push_back(*out.metrics.back().p);
  }
  const std::vector<double> adjusted = holm(p);
  auto next = adjusted.begin();
  for (MetricComparison& metric : out.metrics)
    if (metric.p) metric.holm_p = *next++;
  out.answer_metric = answer_metric(out.metrics);
  RETURN_IF_ERROR(find_changed(store, first, second, request, out));
  return out;
}

// What a run was asked, whichever machine and build it ran on and wherever the model lay.
Result<std::string> question_of(const Store& store, const RunRow& run) {
  const auto config = parse_json(run.config_json).value_or(nlohmann::json());
  const auto group = [&](const char* name) {
    return config.is_object() && config.contains(name) ? config[name] : nlohmann::json();
  };
  ASSIGN_OR_RETURN(const ExperimentRow experiment, store.experiment(*run.experiment_id));
  ASSIGN_OR_RETURN(const ModelRow model, store.model(experiment.model_id));
  return nlohmann::json{
      {"label", run.label},
      {"model", model.name},
      {"benchmark", run.benchmark},
      {"settings", run.benchmark_config_json},
      {"mixer", {run.window, run.sinks, to_string(run.decode_rule)}},
      {"granularity", to_string(run.granularity)},
      {"budget", {run.budget_units.value_or(-1), run.budget_fraction.value_or(-1)}},
      {"seeds", run.seeds_json},
      {"strategy", group("strategy")},
      {"calibration", group("calibration")}}
      .dump();
}

using RunsByQuestion = std::map<std::string, RunRow>;

Result<RunsByQuestion> finished_runs(const Store& store) {
  ASSIGN_OR_RETURN(const std::vector<RunRow> runs, store.runs());
  RunsByQuestion out;
  for (const RunRow& run : runs) {
    if (run.status != RunStatus::kDone || !run.experiment_id) continue;
    ASSIGN_OR_RETURN(std::string question, question_of(store, run));
    out[std::move(question)] = run;
  }
  return out;
}

}  // namespace

bool ChangedSample::answer_changed() const {
  return first_right && second_right && *first_right != *second_right;
}

const MetricComparison* RunComparison::nll() const {
  return metrics.empty() || metrics[0].metric != kNll ? nullptr : &metrics[0];
}

Result<RunComparison> compare_runs(const Store& first, std::string_view first_run,
                                   const Store& second, std::string_view second_run,
                                   const CompareRequest& request) {
  ASSIGN_OR_RETURN(const RunRow a, first.run(first_run));
  ASSIGN_OR_RETURN(const RunRow b, second.run(second_run));
  ASSIGN_OR_RETURN(const Executions first_executions, all_executions(first));
  ASSIGN_OR_RETURN(const Executions second_executions, all_executions(second));
  ASSIGN_OR_RETURN(const Answers of_a, answers_of(first, first_executions, a));
  ASSIGN_OR_RETURN(const Answers of_b, answers_of(second, second_executions, b));
  return compare(first, of_a, of_b, request);
}

Result<DatabaseComparison> compare_databases(const Store& first, const Store& second,
                                             const CompareRequest& request) {
  ASSIGN_OR_RETURN(const RunsByQuestion of_first, finished_runs(first));
  ASSIGN_OR_RETURN(const RunsByQuestion of_second, finished_runs(second));
  ASSIGN_OR_RETURN(const Executions first_executions, all_executions(first));
  ASSIGN_OR_RETURN(const Executions second_executions, all_executions(second));
  DatabaseComparison out;
  std::size_t partners = 0;
  for (const auto& [question, run] : of_first) {
    const auto other = of_second.find(question);
    if (other == of_second.end()) continue;
    ++partners;
    ASSIGN_OR_RETURN(const Answers a, answers_of(first, first_executions, run));
    ASSIGN_OR_RETURN(const Answers b, answers_of(second, second_executions, other->second));
    Result<RunComparison> pair = compare(first, a, b, request);
    if (!pair) {
      out.notes.push_back(pair.error().message);
      continue;
    }
    out.pairs.push_back(*std::move(pair));
  }
  const auto tested = [](const RunComparison& pair) { return pair.nll() && pair.nll()->p; };
  std::vector<double> p;
  for (const RunComparison& pair : out.pairs)
    if (tested(pair)) p.push_back(*pair.nll()->p);
  const std::vector<double> adjusted = holm(p);
  auto next = adjusted.begin();
  for (const RunComparison& pair : out.pairs)
    out.nll_holm.push_back(tested(pair) ? std::optional(*next++) : std::nullopt);
  if (partners == 0)
    return fail(
        make_error(ErrorKind::kNotFound, "{} and {} have no finished run in common", first.path(),
                   second.path())
            .with_hint("runs match where label, model name, benchmark, mixer, budget, seeds and "
                       "calibration do; 'strata report compare RUN RUN' takes any two"));
  const auto alone = [&](const RunsByQuestion& runs, const std::string& path) {
    if (runs.size() > partners)
      out.notes.push_back(
          fmt::format("{}: {} finished runs have no partner", path, runs.size() - partners));
  };
  alone(of_first, first.path());
  alone(of_second, second.path());
  return out;
}

}  // namespace strata
