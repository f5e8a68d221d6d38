// UnitScorer: what one unit is worth, in the context of the others. Searchers work over any scorer.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "strategies/strategy.h"

namespace strata {

class UnitScorer {
 public:
  virtual ~UnitScorer() = default;
  // Score of candidate u = answer NLL of (context without u) − answer NLL of (context with u), over
  // the calibration samples; units that are no candidates get −∞. context_nll is the answer NLL
  // of the context. accuracy, where the scorer has it, is of the same sets. Errors: those of the
  // model, kInterrupted.
  virtual Result<UnitScores> score(const Mask& context,
                                   std::span<const std::size_t> candidates) = 0;
};

// A scorer that can look at some of its samples alone.
class SampledScorer : public UnitScorer {
 public:
  virtual std::size_t samples() const = 0;
  // What score() is the mean of, on these samples (indices below samples()), in their order.
  virtual Result<ScoreTensor> gains(const Mask& context, std::span<const std::size_t> candidates,
                                    std::span<const std::size_t> samples) = 0;
};

}  // namespace strata
