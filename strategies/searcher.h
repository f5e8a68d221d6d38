// Searchers: from scores of single units to a set of K. Ties go to the lower layer (lower flat
// index). strategies/swaps.h refines what any of them found.
#pragma once

#include <cstddef>
#include <vector>

#include "strategies/mean_error.h"
#include "strategies/scorer.h"

namespace strata {

struct SearchOutcome {
  Mask mask;
  UnitScores scores = {};               // of the first round: every unit in the starting context
  std::vector<std::size_t> order = {};  // units in the order in which they were taken
  // Joint answer NLL of the start and after each unit of the order, as the scorer says; free.
  std::vector<double> nll = {};
  // Of a search by accuracy: the share of right answers, likewise.
  std::vector<double> accuracy = {};
  // racing: by how much the unit taken beat the best other one that saw every sample, each round
  // that had one.
  std::vector<MeanError> leads = {};
};

// Units of the model at the request's granularity.
std::size_t units_in(const SelectionRequest& request);

// Flat indices of the units that a mask keeps, or drops, ascending.
std::vector<std::size_t> units_with(const Mask& mask, bool kept);

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

// Where a search begins: units are added to nothing, or dropped from everything.
enum class SearchFrom { kNothing, kEverything };

// What makes a set of units better than another one: less answer NLL; or more right answers, and of
// equally many less NLL.
enum class SearchBy { kNll, kAccuracy };

// Keeps the `width` best sets (ties: the lexicographically lower set), each expanded by every unit;
// a set that two of them reach is scored once. Width 1 is greedy. With at_most it ends where the
// best set of a round is no better than that of the round before. By accuracy: of a scorer that has
// it.
Result<SearchOutcome> beam_search(UnitScorer& scorer, const SelectionRequest& request,
                                  std::size_t k, std::size_t width, SearchFrom from,
                                  SearchBy by = SearchBy::kNll);

// Greedy whose rounds are races over the calibration samples (strategies/race.h), in an order drawn
// anew for each round from request.seed. A unit's first-round score is its mean over the samples
// that it saw; the tensor has no gain of it on the others.
Result<SearchOutcome> racing(SampledScorer& scorer, const SelectionRequest& request, std::size_t k,
                             std::size_t stages, SearchFrom from);

// Mean of what a unit is worth among dropped ones (restore) and among kept ones (ablate), in nats:
// where units interact in pairs alone, exactly its mean gain over all orders of adding units (the
// Shapley value). Standard errors are paired by sample. Both must have their tensors, of the same
// samples; that of the mean holds both (GainKind::kBothSides).
UnitScores bidirectional(const UnitScores& restore, const UnitScores& ablate);
// The K units of least mean rank in both. With at_most, units whose mean gain is ≤ 0 come last and
// are left out.
Mask top_k_by_rank(const SelectionRequest& request, const UnitScores& restore,
                   const UnitScores& ablate, std::size_t k);

}  // namespace strata
