#include "results/reports/html_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "core/json_reader.h"
#include "results/reports/block_render.h"
#include "results/reports/format.h"
#include "results/reports/html_page.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr double kPercent = 100;
constexpr std::size_t kMaxFigures = 24;  // of a kind: each takes the browser some 20 ms
constexpr std::size_t kMaxCurvePoints = 400;

json or_null(const std::optional<double>& value, double scale = 1) {
  return value ? json(*value * scale) : json(nullptr);
}

void put(json& point, const std::string& name, const std::optional<Estimate>& estimate,
         double scale) {
  if (!estimate) return;
  const std::optional<Interval>& interval = estimate->interval;
  point[name] = estimate->value * scale;
  point[name + "_low"] = or_null(interval ? std::optional(interval->low) : std::nullopt, scale);
  point[name + "_high"] = or_null(interval ? std::optional(interval->high) : std::nullopt, scale);
}

json point_of(const LeaderboardBlock& block, const LeaderboardRow& row) {
  json point = {{"name", row.name},
                {"kind", kind_name(row.kind)},
                {"budget", block.budget_units == 0 ? "none" : budget_text(block)},
                {"kv", row.kv_bytes},
                {"flops", row.prefill_flops + row.decode_flops}};
  put(point, "nll", row.answer_nll, 1);
  put(point, "accuracy", row.gen_contains, kPercent);
  return point;
}

// A selection that several runs evaluated is one figure.
std::vector<const Evaluation*> selections_of(const LeaderboardData& data) {
  std::vector<const Evaluation*> out;
  std::set<std::string> seen;
  for (const Evaluation& evaluation : data.evaluations)
    if (evaluation.shown && evaluation.selection && seen.insert(evaluation.selection->id).second)
      out.push_back(&evaluation);
  return out;
}

std::string selection_name(const Evaluation& evaluation) {
  std::string out = evaluation.name();
  if (evaluation.run.budget_units) out += fmt::format(" · budget {}", *evaluation.run.budget_units);
  const SelectionRow& selection = *evaluation.selection;
  return out + fmt::format(" · seed {} · selection {}", selection.seed, short_id(selection.id));
}

std::optional<double> number_at(const json& grid, std::size_t layer, std::size_t unit) {
  if (!grid.is_array() || layer >= grid.size() || !grid[layer].is_array() ||
      unit >= grid[layer].size() || !grid[layer][unit].is_number())
    return std::nullopt;
  return grid[layer][unit].get<double>();
}

std::string left_out(std::size_t all, const char* what) {
  if (all <= kMaxFigures) return {};
  return html_lines(
      {fmt::format("{} of {} {} are drawn: narrow them with --where.", kMaxFigures, all, what)},
      "notes");
}

// A figure's numbers, closed until they are wanted.
std::string numbers(const TextTable& table, const std::string& caption) {
  return "<details><summary>numbers</summary>\n" + html_table(table, caption) + "</details>\n";
}

struct Scores {
  json points = json::array();  // [layer, unit, score, error, kept]
  TextTable table{{{"layer"}, {"unit"}, {"kept", false}, {"score"}, {"standard error"}}, {}};
  std::size_t layers = 0, units = 0, kept = 0;
  std::optional<std::tuple<double, std::size_t, std::size_t>> highest;  // score, layer, unit
};

Scores scores_of(const SelectionRow& selection) {
  const json scores = parse_json(selection.scores_json).value_or(json());
  const json errors = parse_json(selection.standard_errors_json).value_or(json());
  const json mask = parse_json(selection.mask_json).value_or(json());
  Scores out;
  out.layers = scores.is_array() ? scores.size() : 0;
  for (std::size_t layer = 0; scores.is_array() && layer < scores.size(); ++layer)
    for (std::size_t unit = 0; scores[layer].is_array() && unit < scores[layer].size(); ++unit) {
      const auto score = number_at(scores, layer, unit), error = number_at(errors, layer, unit);
      if (!score) continue;
      const bool kept = number_at(mask, layer, unit).value_or(0) == 1;
      out.units = std::max(out.units, unit + 1);
      out.kept += kept ? 1U : 0U;
      if (!out.highest || *score > std::get<0>(*out.highest)) out.highest = {*score, layer, unit};
      out.points.push_back({layer, unit, *score, or_null(error), kept ? 1 : 0});
      out.table.rows.push_back({fmt::format("{}", layer), fmt::format("{}", unit),
                                kept ? "yes" : "no", number(score, 4), number(error, 4)});
    }
  return out;
}

// The loss at each step, or the first number that the steps have.
struct Curve {
  std::string value;
  std::vector<std::pair<double, double>> points;
};

Curve curve_of(const SelectionRow& selection) {
  const json steps = parse_json(selection.training_json).value_or(json());
  Curve out;
  if (!steps.is_array() || steps.empty() || !steps[0].is_object()) return out;
  for (const auto& [key, value] : steps[0].items())
    if (value.is_number() && key != "step" && (out.value.empty() || key == "loss")) out.value = key;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].is_object()) continue;
    const auto value = steps[i].find(out.value), step = steps[i].find("step");
    if (value == steps[i].end() || !value->is_number()) continue;
    const bool counted = step != steps[i].end() && step->is_number();
    out.points.emplace_back(counted ? step->get<double>() : static_cast<double>(i),
                            value->get<double>());
  }
  return out;
}

}  // namespace

std::string ChartSet::figure(json chart, const std::string& caption, const std::string& words,
                             const std::string& controls, const std::string& below) {
  std::string out = fmt::format(
      "<figure data-chart=\"{}\" data-type=\"{}\">\n<figcaption>{}</figcaption>\n{}"
      "<div class=\"plot\" role=\"img\" aria-label=\"{}\"></div>\n{}</figure>\n",
      charts_.size(), html_text(chart.value("type", "")), html_text(caption), controls,
      html_text(words), below);
  charts_.push_back(std::move(chart));
  return out;
}

std::string pareto_figures(const LeaderboardTable& table, ChartSet& charts) {
  // Model, data, split; a model with weights of its own has the id of what it was trained from.
  using Task = std::tuple<std::string, std::string, std::string, std::string>;
  struct Points {
    std::string caption;
    json points = json::array();
    std::set<std::string> seen;
    bool generated = false;
  };
  std::map<Task, Points> tasks;
  std::vector<Task> order;
  for (const LeaderboardBlock& block : table.blocks) {
    const Task task{block.model_id, block.model_name, block.data_id, block.split};
    if (!tasks.contains(task)) order.push_back(task);
    Points& points = tasks[task];
    points.caption = fmt::format("{} · {} · {}", block.model_name, block.benchmark,
                                 config_text(block.benchmark_config_json));
    for (const LeaderboardRow& row : block.rows) {
      json point = point_of(block, row);
      // References belong to every table of the task.
      json key = point;
      if (row.kind == RowKind::kReference) key.erase("budget");
      if (!row.answer_nll ||
          !points.seen.insert(key.dump(-1, ' ', true, json::error_handler_t::replace)).second)
        continue;
      points.generated |= row.gen_contains.has_value();
      points.points.push_back(std::move(point));
    }
  }
  std::string out;
  std::size_t drawn = 0;
  for (const Task& task : order) {
    Points& points = tasks[task];
    if (points.points.size() < 2) continue;
    if (++drawn > kMaxFigures) continue;
    std::string controls =
        "<div class=\"choices\"><label>across <select name=\"x\"><option value=\"kv\">KV bytes"
        "</option><option value=\"flops\">FLOPs</option></select></label>";
    if (points.generated)
      controls +=
          " <label>upwards <select name=\"y\"><option value=\"nll\">NLL</option>"
          "<option value=\"accuracy\">right answers</option></select></label>";
    controls += "</div>\n";
    out += charts.figure(
        {{"type", "pareto"}, {"y", "nll"}, {"points", std::move(points.points)}}, points.caption,
        "Quality against cost of " + points.caption + "; the numbers are in its tables.", controls);
  }
  return out.empty() ? out
                     : "<div class=\"charts\">\n" + out + "</div>\n" + left_out(drawn, "tasks");
}

std::string score_figures(const LeaderboardData& data, ChartSet& charts) {
  std::string out;
  std::size_t all = 0;
  for (const Evaluation* evaluation : selections_of(data)) {
    Scores scores = scores_of(*evaluation->selection);
    if (scores.points.empty() || ++all > kMaxFigures) continue;
    const std::string name = selection_name(*evaluation);
    const auto& [highest, layer, unit] = *scores.highest;
    const std::string words = fmt::format(
        "Scores of {} units by layer, {} of them kept; the highest is {:.4g}, of layer {}{}.",
        scores.points.size(), scores.kept, highest, layer,
        scores.units > 1 ? fmt::format(" unit {}", unit) : "");
    out += charts.figure({{"type", "scores"},
                          {"layers", scores.layers},
                          {"units", scores.units},
                          {"points", scores.points}},
                         name, words, {}, numbers(scores.table, "scores of " + name));
  }
  return out.empty() ? out
                     : "<div class=\"charts\">\n" + out + "</div>\n" + left_out(all, "selections");
}

std::string training_figures(const LeaderboardData& data, ChartSet& charts) {
  std::string out;
  std::size_t all = 0;
  for (const Evaluation* evaluation : selections_of(data)) {
    const Curve curve = curve_of(*evaluation->selection);
    if (curve.points.size() < 2 || ++all > kMaxFigures) continue;
    const std::size_t stride = 1 + (curve.points.size() - 1) / kMaxCurvePoints;
    json points = json::array();
    for (std::size_t i = 0; i < curve.points.size(); ++i)
      if (i % stride == 0 || i + 1 == curve.points.size())
        points.push_back({curve.points[i].first, curve.points[i].second});
    const std::string words =
        fmt::format("{} over {} steps: {:.4g} at first, {:.4g} at last.", curve.value,
                    curve.points.size(), curve.points.front().second, curve.points.back().second);
    out += charts.figure({{"type", "training"}, {"value", curve.value}, {"points", points}},
                         selection_name(*evaluation), words, {}, html_lines({words}, "notes"));
  }
  return out.empty() ? out
                     : "<div class=\"charts\">\n" + out + "</div>\n" + left_out(all, "selections");
}

}  // namespace strata
