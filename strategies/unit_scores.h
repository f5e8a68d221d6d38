// From a score tensor to a score for each unit.
#pragma once

#include <span>

#include "strategies/strategy.h"

namespace strata {

// Every score a mean over the tensor, so that whoever has the tensor has the scores; the standard
// error is that of the mean over independent samples. Units that are no candidates get −∞.
UnitScores scores_of(ScoreTensor tensor, std::span<const std::size_t> candidates);

}  // namespace strata
