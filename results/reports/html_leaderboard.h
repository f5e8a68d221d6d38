// report leaderboard --format html: the tables with their plans' masks, and what a table cannot
// show: quality against cost, needles by depth and length, scores, training, samples to read.
#pragma once

#include <string>

#include "core/result.h"
#include "results/reports/leaderboard.h"
#include "results/store.h"

namespace strata {

// The page's size is bounded, whatever the number of samples (html_samples.h, html_charts.h).
// Errors: those of leaderboard().
Result<std::string> html_leaderboard(const Store& store, const LeaderboardRequest& request);

}  // namespace strata
