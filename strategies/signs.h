// Signs of a bug that a selection's own figures show, without a further pass of the model
// (docs/diagnostics.md). Each says what must be and what was found; strategies note those that only
// they can see, the runner notes those of scores with every selection. Pure.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "core/check.h"
#include "strategies/strategy.h"
#include "strategies/swaps.h"

namespace strata {

// Every number of `what` (scores, gates) the same says nothing of units. At least one value.
Check spread_check(std::string what, std::span<const double> values);

// Scores are numbers; −∞ is a unit that was no candidate.
Check finite_check(std::span<const double> scores);

// Of ConSA: |ŝ − t′| ≤ 0.01, t′ the target that the clamps let it reach.
Check constraint_check(double gap);
// Not every value of `what` (ConSA's logα, gates) at the same clamp, `low` or `high`.
Check clamp_check(const std::string& what, std::span<const double> values, double low, double high);

// Of LightTransfer: a mass of the softmax is at most 1.
Check lazy_ratio_check(double highest);

// A set refined by swaps is not worse than where it began.
Check swap_check(const SwapOutcome& outcome);

// Greedy against the top-K of the same scorer on the same prompts, joint NLLs.
Check search_check(double searched_nll, double top_k_nll, std::size_t k, double rounding);

// What can be said of any selection's scores.
void note_score_signs(Selection& selection);

}  // namespace strata
