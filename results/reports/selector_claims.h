// What a block says of selectors rather than of masks: the gap closed over calibration seeds.
#pragma once

#include <cstdint>
#include <vector>

#include "results/reports/leaderboard_block.h"
#include "results/reports/text_table.h"

namespace strata {

// One for each label and setting (strategy's and calibration's keys, seeds apart) whose selection
// looked at calibration data, in the order of their first run; its seeds are the runs on different
// calibration data. None where the gap has no value (gap_closed()).
std::vector<SelectorClaim> selector_claims(const BlockMembers& members,
                                           const std::vector<std::size_t>& clusters,
                                           std::uint64_t bootstrap_seed);

// A row for each claim over two seeds or more; empty where there is none.
TextTable claims_table(const std::vector<SelectorClaim>& claims);
// "1 seed: a, b; …", "" where every claim has more.
std::string single_seed_note(const std::vector<SelectorClaim>& claims);

}  // namespace strata
