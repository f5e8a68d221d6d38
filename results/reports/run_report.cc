#include "results/reports/run_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/plan.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/picked_responses.h"
#include "results/reports/text_table.h"

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

std::string cell_of(const json& grid, std::size_t layer, std::size_t unit) {
  if (!grid.is_array() || layer >= grid.size() || !grid[layer].is_array() ||
      unit >= grid[layer].size() || !grid[layer][unit].is_number())
    return kNoValue;
  return fmt::format("{:.4f}", grid[layer][unit].get<double>());
}

// One row a unit: layer, unit, kept, score, standard error.
TextTable score_table(const SelectionRow& selection) {
  TextTable table{{{"layer"}, {"unit"}, {"kept", false}, {"score"}, {"standard error"}}, {}};
  const json mask = json::parse(selection.mask_json, nullptr, false);
  const json scores = json::parse(selection.scores_json, nullptr, false);
  const json errors = json::parse(selection.standard_errors_json, nullptr, false);
  if (!mask.is_array()) return table;
  for (std::size_t layer = 0; layer < mask.size(); ++layer)
    for (std::size_t unit = 0; unit < mask[layer].size(); ++unit)
      table.rows.push_back({fmt::format("{}", layer), fmt::format("{}", unit),
                            mask[layer][unit] == 1 ? "█" : "·", cell_of(scores, layer, unit),
                            cell_of(errors, layer, unit)});
  return table;
}

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

void describe_run(const RunRow& run, Lines& lines) {
  lines.add("run {}", run.id);
  lines.add("{} · {} · started {}{}", run.label, to_string(run.status), run.started,
            run.finished.empty() ? "" : " · finished " + run.finished);
  if (!run.error.empty()) lines.add("error: {}", run.error);
  lines.add("strategy {} · granularity {} · budget {} · decode rule {} · window {} · sinks {}",
            run.strategy, to_string(run.granularity),
            run.budget_units ? plural(*run.budget_units, "unit") : std::string("none asked for"),
            to_string(run.decode_rule), run.window, run.sinks);
  lines.add("benchmark {}: {}", run.benchmark, config_text(run.benchmark_config_json));
  lines.add("seeds: {}", config_text(run.seeds_json));
  lines.add("config {}: {}", short_id(run.config_hash), config_text(run.config_json));
  if (run.calibration_nll)
    lines.add("NLL of the chosen plan on calibration: {:.4f}", *run.calibration_nll);
}

void describe_selection(const SelectionRow& selection, Lines& lines) {
  const SelectionCost& cost = selection.cost;
  lines.add("selection {} by {}: {}", short_id(selection.id), selection.strategy,
            config_text(selection.config_json));
  lines.add("given: {} · calibration {}", selection.supervision,
            selection.calibration_id.empty() ? "none" : short_id(selection.calibration_id));
  lines.add("cost: {} · {} forward tokens · {} layer tokens · {:.4g} TFLOP · {:.3g} s · peak {}",
            plural(cost.evaluations, "evaluation"), count(cost.forward_tokens),
            count(cost.layer_tokens), cost.flops / kTera, cost.seconds,
            bytes(static_cast<double>(cost.peak_bytes)));
  if (const std::string diagnostics = config_text(selection.diagnostics_json); !diagnostics.empty())
    lines.add("diagnostics: {}", diagnostics);
}

std::string laid_out(const Lines& lines, const std::vector<TextTable>& tables,
                     const RenderOptions& options) {
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

std::string unit_csv(const TextTable& scores) {
  std::string out = csv_line({"layer", "unit", "kept", "score", "standard_error"});
  for (std::vector<std::string> row : scores.rows) {
    row[2] = row[2] == "█" ? "1" : "0";
    for (std::string& cell : row)
      if (cell == kNoValue) cell.clear();
    out += csv_line(row);
  }
  return out;
}

}  // namespace

Result<std::string> run_report(const Store& store, std::string_view run_name,
                               const RenderOptions& options) {
  ASSIGN_OR_RETURN(const RunRow run, store.run(run_name));
  Lines lines;
  std::vector<TextTable> tables(1);
  describe_run(run, lines);
  if (run.selection_id) {
    ASSIGN_OR_RETURN(const SelectionRow selection, store.selection(*run.selection_id));
    describe_selection(selection, lines);
    tables[0] = score_table(selection);
  }
  if (options.format == ReportFormat::kCsv) return unit_csv(tables[0]);
  if (run.experiment_id) {
    ASSIGN_OR_RETURN(const ExperimentRow experiment, store.experiment(*run.experiment_id));
    ASSIGN_OR_RETURN(const ModelRow model, store.model(experiment.model_id));
    ASSIGN_OR_RETURN(const PlanRow plan_row, store.plan(experiment.plan_id));
    ASSIGN_OR_RETURN(const AttentionPlan plan, parse_plan(plan_row));
    lines.add("model {} ({}) · plan {} · KV share {} %", model.name, short_id(model.id),
              short_id(experiment.plan_id), percent(kv_share(plan)));
    lines.add("layers: {}", strip_text(strip_of(plan)));
    ASSIGN_OR_RETURN(const DataRow data, store.data(experiment.data_id));
    ASSIGN_OR_RETURN(const PickedResponses picked, pick_responses(store, experiment, data));
    const std::vector<ResponseRow>& responses = picked.responses;
    lines.add("{} of {} samples answered", responses.size(), data.items.size());
    for (const std::string& environment : picked.environments) lines.add("on {}", environment);
    tables.push_back(metric_table(responses));
    tables.push_back(position_table(responses));
  }
  return laid_out(lines, tables, options);
}

}  // namespace strata
