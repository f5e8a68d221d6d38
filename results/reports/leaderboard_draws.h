// Several draws, or offsets, as one row of the leaderboard.
#pragma once

#include <string>
#include <vector>

#include "results/reports/leaderboard.h"

namespace strata {

// Of each number the median, with distribution_of()'s range where it is an estimate; of what the
// selections took the total. At least one draw.
LeaderboardRow row_of_draws(const std::vector<LeaderboardRow>& draws, std::string name);

}  // namespace strata
