// From a score tensor to a score for each unit.
#pragma once

#include <functional>
#include <span>

#include "strategies/strategy.h"

namespace strata {

// Every score a mean over the tensor, so that whoever has the tensor has the scores; the standard
// error is that of the mean over independent samples. Units that are no candidates get −∞.
UnitScores scores_of(ScoreTensor tensor, std::span<const std::size_t> candidates);

// Without a standard error or a tensor.
UnitScores plain_scores(std::vector<double> scores);

// What scores are made for, beside the method: model, calibration, units, mixers, rule.
nlohmann::json scored_for(const SelectionRequest& request, const SelectionContext& context);

// Scores that no budget enters: computed at most once for `method` (whatever they depend on), later
// handed out with what they had cost as `reused`.
struct SharedScores {
  ScoreCache::Entry entry;
  Meter reused;
};
Result<SharedScores> shared_scores(const SelectionRequest& request, SelectionContext& context,
                                   nlohmann::json method,
                                   const std::function<Result<ScoreCache::Entry>()>& compute);

}  // namespace strata
