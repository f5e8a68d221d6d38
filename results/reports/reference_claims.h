// Selectors against a reference over calibration seeds: is one worse than toggling single units by
// the answer's NLL, and by how much?
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "results/reports/leaderboard_block.h"
#include "results/reports/text_table.h"

namespace strata {

// One comparison for each calibration setting (its keys, seeds apart) under which a reference ran
// and another selector shares two calibration sets or more with it; none on the development split.
// The reference is the one of nll_restore and nll_ablate with the lower mean NLL on development
// samples of the same setting, else on the calibration prompts; controls are not compared. What
// keeps a comparison from being made is added to `notes`.
std::vector<ReferenceComparison> reference_comparisons(const BlockMembers& members,
                                                       const std::vector<std::size_t>& clusters,
                                                       std::uint64_t seed,
                                                       std::vector<std::string>& notes);

// What the table below it is against, and how that was chosen.
std::string comparison_heading(const ReferenceComparison& comparison);
TextTable comparison_table(const ReferenceComparison& comparison);
// How to read it; for a footer.
std::string comparison_footer();

}  // namespace strata
