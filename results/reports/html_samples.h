// The samples on which plans disagree, to be read: what was asked, and what each plan said.
#pragma once

#include <cstddef>
#include <string>

#include "results/reports/leaderboard_data.h"
#include "results/store.h"

namespace strata {

// What bounds the page, whatever the database holds: some 2 MB at most.
struct SampleLimits {
  std::size_t samples = 200;  // of a page, shared evenly by its data sets
  std::size_t plans = 16;     // of a data set
  std::size_t prompt_begin = 160, prompt_end = 500, text = 400;  // code points
};

// HTML; empty where no two plans of a data set disagree. The samples shown are spread evenly over
// those that disagree. Errors: the store's.
Result<std::string> sample_browser(const Store& store, const LeaderboardData& data,
                                   const SampleLimits& limits = {});

}  // namespace strata
