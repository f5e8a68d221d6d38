// Searchers: from scores of single units to a set of K. Ties go to the lower layer (lower flat
// index).
#pragma once

#include <cstddef>
#include <vector>

#include "strategies/scorer.h"

namespace strata {

struct SearchOutcome {
  Mask mask;
  UnitScores scores;               // of the first round: every unit in the starting context
  std::vector<std::size_t> order;  // units in the order in which they were taken
};

// The K units of highest score. With at_most, units that gain nothing (≤ 0) are left out, but never
// all of them.
Mask top_k(const SelectionRequest& request, const std::vector<double>& scores, std::size_t k);
// The K units of lowest score.
Mask bottom_k(const SelectionRequest& request, const std::vector<double>& scores, std::size_t k);

// From nothing kept, K rounds: score every remaining unit in the context of those taken, take the
// best.
Result<SearchOutcome> greedy_forward(UnitScorer& scorer, const SelectionRequest& request,
                                     std::size_t k);
// From everything kept, drop the unit whose loss is least until K are left.
Result<SearchOutcome> greedy_backward(UnitScorer& scorer, const SelectionRequest& request,
                                      std::size_t k);

}  // namespace strata
