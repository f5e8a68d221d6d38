// report grid: what a plan answers at each length and depth of its needle, one map a run: what the
// heat maps of the needle in a haystack are drawn from. Built from rows alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "results/reports/leaderboard_data.h"
#include "results/reports/page.h"

namespace strata {

// Means over the samples of a cell; none where a sample lacks the metric.
struct HeatCell {
  std::int64_t length = 0;  // tokens
  double depth = 0;         // percent
  std::size_t samples = 0;
  std::optional<double> gen_contains, answer_nll;
  // From 1 to 10, by the name of the judge; of the responses that it gave a score.
  std::map<std::string, double> judged;
};

struct HeatMap {
  std::string name;             // of the plan: label, decode rule, mixer, budget
  std::vector<HeatCell> cells;  // by length, then depth
  // What judges were asked (judge.rubric=needle): "MODEL at HOST settings".
  std::map<std::string, std::size_t> unscored;  // replies without a score, and calls that failed
  RowSource source;
};

// Of every run whose samples say their cell (benchmark=niah_grid), by start. Errors: the store's,
// and a database in which no run does.
// The first: may be none, and without judges.
std::vector<HeatMap> heat_maps(const LeaderboardData& data);
Result<std::vector<HeatMap>> heat_maps(const Store& store, const LeaderboardRequest& request);

// Depths × lengths for each map and metric; as csv one line a cell and judge, as plotting programs
// like it.
ReportPage heat_map_page(const std::vector<HeatMap>& maps, ReportFormat format);
// The rows behind each cell, judges' scores apart, and the query that gives it.
ReportPage heat_map_trace(const std::vector<HeatMap>& maps);

}  // namespace strata
