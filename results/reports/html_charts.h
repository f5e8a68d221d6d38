// The charts of a leaderboard's page: their numbers as JSON for charts.js, and the figures that
// they are drawn in, each with what it shows in words.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "results/reports/leaderboard_data.h"

namespace strata {

// Charts in the order of their figures' data-chart.
class ChartSet {
 public:
  // A <figure>; `controls` and `below` are HTML within it.
  std::string figure(nlohmann::json chart, const std::string& caption, const std::string& words,
                     const std::string& controls = {}, const std::string& below = {});
  const nlohmann::json& all() const { return charts_; }

 private:
  nlohmann::json charts_ = nlohmann::json::array();
};

// Each returns HTML, empty where the database has nothing to draw; the figures beyond a cap are
// left out and counted in a note.
//
// NLL (and right answers) against KV bytes and FLOPs: a figure for each model, data set and split,
// over the tables of all its budgets.
std::string pareto_figures(const LeaderboardTable& table, ChartSet& charts);
// Right answers and NLL by depth and length of the needle, where samples say theirs.
std::string heat_figures(const LeaderboardData& data, ChartSet& charts);
// Scores of units with one standard error, a figure a selection.
std::string score_figures(const LeaderboardData& data, ChartSet& charts);
// What was learned, step by step.
std::string training_figures(const LeaderboardData& data, ChartSet& charts);

}  // namespace strata
