#include "results/reports/run_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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

constexpr std::size_t kMaxWidth = 160;
constexpr double kTera = 1e12;

struct Lines {
  std::vector<std::string> text;
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    text.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
};

// Mean and standard error of the NLL at each answer position, over the samples that have it.
TextTable position_table(const std::vector<ResponseRow>& responses) {
  TextTable table{{{"answer position"}, {"NLL"}, {"standard error"}, {"samples"}}, {}};
  std::vector<std::vector<double>> at_position;
  for (const ResponseRow& response : responses)
    for (std::size_t i = 0; i < response.answer_nll.size(); ++i) {
      if (i >= at_position.size()) at_position.emplace_back();
      at_position[i].push_back(response.answer_nll[i]);
    }
  for (std::size_t i = 0; i < at_position.size(); ++i) {
    const Mean mean = mean_of(at_position[i]);
    table.rows.push_back({fmt::format("{}", i), fmt::format("{:.4f}", mean.value),
                          number(mean.standard_error, 4),
                          fmt::format("{}", at_position[i].size())});
  }
  return table;
}

TextTable metric_table(const std::vector<ResponseRow>& responses) {
  TextTable table{{{"metric", false}, {"mean"}, {"standard error"}, {"samples"}}, {}};
  std::map<std::string, std::vector<double>> metrics;
  for (const ResponseRow& response : responses)
    for (const auto& [name, value] : response.metrics) metrics[name].push_back(value);
  for (const auto& [name, values] : metrics) {
    const Mean mean = mean_of(values);
    table.rows.push_back({name, fmt::format("{:.4f}", mean.value), number(mean.standard_error, 4),
                          fmt::format("{}", values.size())});
  }
  return table;
}

void describe_run(const RunRow& run, const std::optional<SelectionRow>& selection,
                  const AttentionPlan* plan, Lines& lines) {
  lines.add("run {}", run.id);
  lines.add("{} · {} · started {}{}", run.label, to_string(run.status), run.started,
            run.finished.empty() ? "" : " · finished " + run.finished);
  if (!run.error.empty()) lines.add("error: {}", run.error);
  lines.add("strategy {} · granularity {} · budget {} · decode rule {} · {}", run.strategy,
            to_string(run.granularity),
            run.budget_units ? plural(*run.budget_units, "unit") : std::string("none asked for"),
            to_string(run.decode_rule), mixer_text(run.window, run.sinks, linear_of(run, plan)));
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

std::string laid_out(const Lines& lines, const std::vector<TextTable>& tables,
                     const RenderOptions& options) {
  if (options.format == ReportFormat::kLatex || options.format == ReportFormat::kHtml) {
    ReportPage page{{{"run", lines.text, {}, {}}}, {}};
    for (const TextTable& table : tables) page.sections.push_back({"run", {}, table, {}});
    return render(page, options);
  }
  std::string out;
  const bool markdown = options.format == ReportFormat::kMarkdown;
  for (const std::string& line : lines.text)
    out += markdown ? "- " + line + "\n" : wrapped(options.utf8 ? line : to_ascii(line), kMaxWidth);
  for (TextTable table : tables) {
    if (table.rows.empty()) continue;
    if (!options.utf8)
      for (auto& row : table.rows)
        for (std::string& cell : row) cell = to_ascii(cell);
    out += "\n" + (markdown ? as_markdown(table) : as_text(table));
  }
  return out;
}

// Numbers alone, and the ends of an interval as columns of their own.
std::string unit_csv(const UnitEvidence& evidence) {
  constexpr std::ptrdiff_t kIntervalColumn = 5;
  const bool with_intervals = !evidence.intervals.empty();
  std::vector<std::string> header = {"layer", "unit", "kept", "score", "standard_error"};
  if (with_intervals) header.insert(header.end(), {"low", "high", "inclusion_percent"});
  std::string out = csv_line(header);
  for (std::size_t i = 0; i < evidence.table.rows.size(); ++i) {
    std::vector<std::string> row = evidence.table.rows[i];
    row[2] = row[2] == "█" ? "1" : "0";
    if (with_intervals) {
      const std::optional<Interval>& interval = evidence.intervals[i];
      row[kIntervalColumn] = interval ? fmt::format("{:.4f}", interval->low) : "";
      row.insert(row.begin() + kIntervalColumn + 1,
                 interval ? fmt::format("{:.4f}", interval->high) : "");
    }
    for (std::string& cell : row)
      if (cell == kNoValue) cell.clear();
    out += csv_line(row);
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
  std::vector<TextTable> tables = {std::move(evidence.table)};
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
    tables.push_back(metric_table(responses));
    tables.push_back(position_table(responses));
  }
  return laid_out(lines, tables, options);
}

}  // namespace strata
