#include "results/reports/heat_map.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/json_reader.h"
#include "results/reports/format.h"

namespace strata {
namespace {

constexpr double kPercent = 100;

using Place = std::pair<std::int64_t, double>;  // length, depth

// The cell that a sample's metadata name; metadata may have been edited by hand.
std::optional<Place> place_of(const SampleRow& sample) {
  const auto metadata = parse_json(sample.metadata_json);
  if (!metadata || !metadata->is_object()) return std::nullopt;
  const auto cell = metadata->find("cell");
  if (cell == metadata->end() || !cell->is_object()) return std::nullopt;
  const auto length = cell->find("length"), depth = cell->find("depth");
  if (length == cell->end() || !length->is_number_integer() || depth == cell->end() ||
      !depth->is_number())
    return std::nullopt;
  return Place{length->get<std::int64_t>(), depth->get<double>()};
}

class Mean {
 public:
  void add(const std::vector<double>& values, std::size_t i) {
    sum_ += i < values.size() ? values[i] : std::nan("");
    ++count_;
  }
  std::optional<double> value() const {
    return std::isfinite(sum_) ? std::optional(sum_ / static_cast<double>(count_)) : std::nullopt;
  }

 private:
  double sum_ = 0;
  std::int64_t count_ = 0;
};

std::string name_of(const Evaluation& evaluation) {
  const RunRow& run = evaluation.run;
  std::string out = evaluation.name();
  if (run.budget_fraction) out += fmt::format(" · {} %", percent(*run.budget_fraction));
  if (run.budget_units) out += fmt::format(" · {} units", *run.budget_units);
  if (run.group == "full") return out;
  return out + fmt::format(" · {} · decode {}",
                           mixer_text(run.window, run.sinks, linear_of(run, &evaluation.plan)),
                           to_string(run.decode_rule));
}

HeatMap map_of(const Evaluation& evaluation, const std::vector<Place>& places) {
  struct Sums {
    std::size_t samples = 0;
    Mean right, nll;
  };
  std::map<Place, Sums> cells;
  for (std::size_t i = 0; i < places.size(); ++i) {
    Sums& cell = cells[places[i]];
    ++cell.samples;
    cell.right.add(evaluation.gen_contains, i);
    cell.nll.add(evaluation.nll, i);
  }
  HeatMap out{name_of(evaluation), evaluation.run.id, {}};
  for (const auto& [place, sums] : cells)
    out.cells.push_back(
        {place.first, place.second, sums.samples, sums.right.value(), sums.nll.value()});
  return out;
}

struct Metric {
  const char* name;
  std::optional<double> HeatCell::*value;
  double scale;
  int decimals;
};
constexpr Metric kMetrics[] = {{"gen_contains %", &HeatCell::gen_contains, kPercent, 0},
                               {"answer NLL", &HeatCell::answer_nll, 1, 2}};

std::string cell_text(const HeatCell& cell, const Metric& metric) {
  const std::optional<double>& value = cell.*metric.value;
  return number(value ? std::optional(*value * metric.scale) : std::nullopt, metric.decimals);
}

TextTable grid_of(const HeatMap& map, const Metric& metric) {
  std::set<std::int64_t> lengths;
  std::map<double, std::map<std::int64_t, std::string>> by_depth;
  for (const HeatCell& cell : map.cells) {
    lengths.insert(cell.length);
    by_depth[cell.depth][cell.length] = cell_text(cell, metric);
  }
  TextTable out{{{"depth %"}}, {}};
  for (const std::int64_t length : lengths) out.columns.push_back({fmt::format("{}", length)});
  for (const auto& [depth, row] : by_depth) {
    std::vector<std::string> cells = {fmt::format("{:g}", depth)};
    for (const std::int64_t length : lengths) {
      const auto found = row.find(length);
      cells.push_back(found == row.end() ? kNoValue : found->second);
    }
    out.rows.push_back(std::move(cells));
  }
  return out;
}

}  // namespace

std::vector<HeatMap> heat_maps(const LeaderboardData& data) {
  std::vector<HeatMap> out;
  for (const Evaluation& evaluation : data.evaluations) {
    if (!evaluation.shown) continue;
    std::vector<Place> places;
    for (const SampleRow& sample : data.data.at(evaluation.experiment.data_id).samples)
      if (const std::optional<Place> place = place_of(sample)) places.push_back(*place);
    if (!places.empty() && places.size() == evaluation.nll.size())
      out.push_back(map_of(evaluation, places));
  }
  return out;
}

Result<std::vector<HeatMap>> heat_maps(const Store& store, const LeaderboardRequest& request) {
  ASSIGN_OR_RETURN(const LeaderboardData data, load_leaderboard_data(store, request));
  std::vector<HeatMap> out = heat_maps(data);
  if (out.empty())
    return fail(make_error(ErrorKind::kNotFound,
                           "expected a finished run whose samples have a length and a depth, got "
                           "none")
                    .with_hint("strata run benchmark=niah_grid calibration=niah"));
  return out;
}

ReportPage heat_map_page(const std::vector<HeatMap>& maps, ReportFormat format) {
  ReportPage page;
  if (format == ReportFormat::kCsv) {
    PageSection cells{"cells",
                      {},
                      {{{"run", false},
                        {"plan", false},
                        {"length"},
                        {"depth"},
                        {"samples"},
                        {"gen_contains"},
                        {"answer_nll"}},
                       {}},
                      {}};
    for (const HeatMap& map : maps)
      for (const HeatCell& cell : map.cells)
        cells.table.rows.push_back({map.run_id, map.name, fmt::format("{}", cell.length),
                                    fmt::format("{:g}", cell.depth),
                                    fmt::format("{}", cell.samples), number(cell.gen_contains, 4),
                                    number(cell.answer_nll, 4)});
    page.sections.push_back(std::move(cells));
    return page;
  }
  for (const HeatMap& map : maps)
    for (const Metric& metric : kMetrics)
      page.sections.push_back({"grid",
                               {fmt::format("{} · {} by depth and length · run {}", map.name,
                                            metric.name, short_id(map.run_id))},
                               grid_of(map, metric),
                               {}});
  page.footer = {
      "Depth 0 is the beginning of the context. A cell is one sample unless it says "
      "otherwise in the csv: differences of single cells are noise."};
  return page;
}

}  // namespace strata
