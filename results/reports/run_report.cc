#include "results/reports/run_report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <span>

#include "core/check.h"
#include "core/json_reader.h"
#include "core/plan.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/page.h"
#include "results/reports/picked_responses.h"
#include "results/reports/text_table.h"
#include "results/reports/unit_scores.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr double kTera = 1e12;
constexpr const char* kIntervals =
    "[low, high]: 95 % interval of a mean. Where samples share a cluster (a document, a "
    "conversation) they are not independent: bootstrap over clusters, or Wilson's over them where "
    "all are right or all are wrong; else Wilson's of what is right or wrong, and Student's t of "
    "other values.";

struct Lines {
  std::vector<std::string> text;
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    text.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
};

// Values of some samples, with the cluster that each sample is of.
struct Clustered {
  std::vector<double> values;
  std::vector<std::string> clusters;

  void add(double value, const std::string& cluster) {
    values.push_back(value);
    clusters.push_back(cluster);
  }
  bool all_shares() const {
    return std::all_of(values.begin(), values.end(), [](double v) { return v >= 0 && v <= 1; });
  }
};

using Clusters = std::map<std::string, std::string>;  // by sample

Clusters clusters_of(const DataRow& data) {
  Clusters out;
  for (const DataRow::Item& item : data.items) out[item.sample_id] = item.cluster;
  return out;
}

using EstimateOf = Estimate (*)(std::span<const double>, const BootstrapOptions&);

TextTable::Row row_of(std::string name, const Clustered& of, EstimateOf estimate) {
  const std::vector<std::size_t> clusters = cluster_numbers(of.clusters);
  return {std::move(name), with_interval(estimate(of.values, {.clusters = clusters}), 1, 4),
          fmt::format("{}", of.values.size()),
          fmt::format("{}", 1 + *std::max_element(clusters.begin(), clusters.end()))};
}

// The NLL at each answer position, over the samples that have it.
TextTable position_table(const std::vector<ResponseRow>& responses, const Clusters& clusters) {
  TextTable table{{{"answer position"}, {"NLL"}, {"samples"}, {"clusters"}}, {}};
  std::vector<Clustered> at_position;
  for (const ResponseRow& response : responses) {
    at_position.resize(std::max(at_position.size(), response.answer_nll.size()));
    for (std::size_t i = 0; i < response.answer_nll.size(); ++i)
      at_position[i].add(response.answer_nll[i], clusters.at(response.sample_id));
  }
  for (std::size_t i = 0; i < at_position.size(); ++i)
    table.rows.push_back(row_of(fmt::format("{}", i), at_position[i], mean_estimate));
  return table;
}

TextTable metric_table(const std::vector<ResponseRow>& responses, const Clusters& clusters) {
  TextTable table{{{"metric", false}, {"mean"}, {"samples"}, {"clusters"}}, {}};
  std::map<std::string, Clustered> metrics;
  for (const ResponseRow& response : responses)
    for (const auto& [name, value] : response.metrics)
      metrics[name].add(value, clusters.at(response.sample_id));
  for (const auto& [name, of] : metrics)
    table.rows.push_back(row_of(name, of, of.all_shares() ? share_estimate : mean_estimate));
  return table;
}

void describe_run(const RunRow& run, const std::optional<SelectionRow>& selection,
                  const AttentionPlan* plan, Lines& lines) {
  lines.add("run {}", run.id);
  lines.add("{} · {} · started {}{}", run.label, to_string(run.status), run.started,
            run.finished.empty() ? "" : " · finished " + run.finished);
  if (!run.error.empty()) lines.add("error: {}", run.error);
  const std::string mixer = mixer_text(run, plan);
  lines.add("strategy {} · granularity {} · budget {} · decode rule {}{}{}", run.strategy,
            to_string(run.granularity),
            run.budget_units ? plural(*run.budget_units, "unit") : std::string("none asked for"),
            to_string(run.decode_rule), mixer.empty() ? "" : " · ", mixer);
  const std::string split = evaluated_split(run);
  lines.add("benchmark {}{}: {}", run.benchmark,
            split == kTestSplit ? "" : fmt::format(", {} split", split),
            config_text(run.benchmark_config_json));
  if (const std::string transfer = transfer_of(run, selection); !transfer.empty())
    lines.add("transfer: calibrated on {}", transfer);
  lines.add("seeds: {}", config_text(run.seeds_json));
  lines.add("config {}: {}", short_id(run.config_hash), config_text(run.config_json));
  if (run.calibration_nll)
    lines.add("NLL of the chosen plan on calibration: {:.4f}", *run.calibration_nll);
}

// Signs of a bug first; what was checked is a line each, the rest as it is.
void describe_diagnostics(const std::string& diagnostics_json, Lines& lines) {
  json diagnostics = parse_json(diagnostics_json).value_or(json());
  for (const std::string& sign : signs_in(diagnostics)) lines.add("! sign of a bug: {}", sign);
  for (const std::string& check : checks_in(diagnostics)) lines.add("checked: {}", check);
  if (!diagnostics.is_object()) return lines.add("diagnostics: {}", diagnostics_json);
  if (diagnostics.contains("checks_cost"))
    lines.add("the checks cost apart: {}", config_text(diagnostics["checks_cost"].dump()));
  for (const char* told : {"checks", "checks_cost", "signs_of_a_bug"}) diagnostics.erase(told);
  if (const std::string rest = config_text(diagnostics.dump()); !rest.empty())
    lines.add("diagnostics: {}", rest);
}

void describe_selection(const SelectionRow& selection, Lines& lines) {
  const SelectionCost& cost = selection.cost;
  lines.add("selection {} by {}: {}", short_id(selection.id), selection.strategy,
            config_text(selection.config_json));
  lines.add("given: {} · calibration {}", selection.supervision,
            selection.calibration_id.empty() ? "none" : short_id(selection.calibration_id));
  lines.add(
      "cost: {} · {} forward, {} backward tokens · {} layer tokens · {:.4g} TFLOP · {:.3g} s · "
      "peak {}",
      plural(cost.evaluations, "evaluation"), count(cost.forward_tokens),
      count(cost.backward_tokens), count(cost.layer_tokens), cost.flops / kTera, cost.seconds,
      bytes(static_cast<double>(cost.peak_bytes)));
  describe_diagnostics(selection.diagnostics_json, lines);
}

// Numbers alone, and the ends of an interval as columns of their own.
std::string unit_csv(const UnitEvidence& evidence) {
  constexpr std::size_t kKept = 2, kInterval = 5;
  const bool with_intervals = !evidence.intervals.empty();
  std::vector<std::string> header = {"layer", "unit", "kept", "score", "standard_error"};
  if (with_intervals) header.insert(header.end(), {"low", "high", "inclusion_percent"});
  std::string out = csv_line(header);
  for (std::size_t i = 0; i < evidence.table.rows.size(); ++i) {
    const TextTable::Row& row = evidence.table.rows[i];
    std::vector<std::string> line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (c == kKept) {
        line.emplace_back(row[c].text == "█" ? "1" : "0");
      } else if (c == kInterval) {
        const std::optional<Interval>& interval = evidence.intervals[i];
        line.push_back(interval ? exact(interval->low) : "");
        line.push_back(interval ? exact(interval->high) : "");
      } else {
        line.push_back(csv_text(row[c]));
      }
    }
    out += csv_line(line);
  }
  return out;
}

// The scores of the run's selection: lines and a table.
Result<UnitEvidence> evidence_of(const Store& store, const RunRow& run,
                                 const SelectionRow& selection) {
  std::optional<ScoreTensorRow> tensor;
  if (selection.score_tensor_id) {
    ASSIGN_OR_RETURN(tensor, store.score_tensor(*selection.score_tensor_id));
  }
  return unit_evidence(selection, tensor ? &tensor->tensor : nullptr, run.calibration_nll);
}

}  // namespace

Result<std::string> run_report(const Store& store, std::string_view run_name,
                               const RenderOptions& options) {
  ASSIGN_OR_RETURN(const RunRow run, store.run(run_name));
  Lines lines;
  UnitEvidence evidence;
  std::optional<SelectionRow> selection;
  if (run.selection_id) {
    ASSIGN_OR_RETURN(selection, store.selection(*run.selection_id));
  }
  std::optional<ExperimentRow> experiment;
  std::optional<AttentionPlan> plan;
  if (run.experiment_id) {
    ASSIGN_OR_RETURN(experiment, store.experiment(*run.experiment_id));
    ASSIGN_OR_RETURN(const PlanRow plan_row, store.plan(experiment->plan_id));
    ASSIGN_OR_RETURN(plan, parse_plan(plan_row));
  }
  describe_run(run, selection, plan ? &*plan : nullptr, lines);
  if (selection) {
    describe_selection(*selection, lines);
    ASSIGN_OR_RETURN(evidence, evidence_of(store, run, *selection));
    lines.text.insert(lines.text.end(), evidence.lines.begin(), evidence.lines.end());
  }
  if (options.format == ReportFormat::kCsv) return unit_csv(evidence);
  ReportPage page{{{"run", {}, {}, {}}, {"run", {}, std::move(evidence.table), {}}}, {}};
  if (plan) {
    ASSIGN_OR_RETURN(const ModelRow model, store.model(experiment->model_id));
    lines.add("model {} ({}) · plan {} · KV share {} %", model.name, short_id(model.id),
              short_id(experiment->plan_id), percent(kv_share(*plan)));
    lines.add("layers: {}", strip_text(strip_of(*plan)));
    ASSIGN_OR_RETURN(const DataRow data, store.data(experiment->data_id));
    ASSIGN_OR_RETURN(const Executions executions, all_executions(store));
    ASSIGN_OR_RETURN(const PickedResponses picked,
                     pick_responses(store, executions, *experiment, data));
    const std::vector<ResponseRow>& responses = picked.responses;
    lines.add("{} of {} samples answered", responses.size(), data.items.size());
    for (const std::string& environment : picked.environments) lines.add("on {}", environment);
    const Clusters clusters = clusters_of(data);
    page.sections.push_back({"run", {}, metric_table(responses, clusters), {}});
    page.sections.push_back({"run", {}, position_table(responses, clusters), {}});
    if (!responses.empty()) page.footer.emplace_back(kIntervals);
  }
  page.sections[0].lines = std::move(lines.text);
  return render(page, options);
}

}  // namespace strata
