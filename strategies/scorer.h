// UnitScorer: what one unit is worth, in the context of the others. Searchers work over any scorer.
#pragma once

#include <span>

#include "strategies/strategy.h"

namespace strata {

class UnitScorer {
 public:
  virtual ~UnitScorer() = default;
  // score of candidate u = answer NLL of (context without u) − answer NLL of (context with u), over
  // the calibration samples; units that are no candidates get −∞. Errors: those of the model,
  // kInterrupted.
  virtual Result<UnitScores> score(const Mask& context,
                                   std::span<const std::size_t> candidates) = 0;
};

}  // namespace strata
