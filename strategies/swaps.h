// Swaps: a set is refined by exchanging one of its weakest units for one of the strongest outside.
// The last step of any search that believed single scores.
//
// A round measures every exchange of the `candidates` weakest kept with the `candidates` strongest
// dropped units and makes the one of largest mean gain, where that gain exceeds `errors` standard
// errors of its paired difference; the search ends with the first round that makes none. With
// stages > 1 a round is a race (strategies/race.h).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "strategies/mask_losses.h"
#include "strategies/mean_error.h"

namespace strata {

struct SwapOptions {
  std::size_t candidates = 3;
  std::size_t rounds = 2;
  double errors = 1;
  std::size_t stages = 1;
};

struct Swap {
  std::size_t out = 0;
  std::size_t in = 0;
  MeanError gain = {};  // of joint answer NLL, nats, over all samples
};

struct SwapOutcome {
  Mask mask;
  std::vector<Swap> swaps = {};                // that were made, in order
  std::optional<Swap> refused = std::nullopt;  // the best of the round that made none
  double start_nll = 0;  // joint answer NLL of the start, mean over the samples
  double nll = 0;        // of `mask`
};

// scores: what orders units, one a unit, higher = stronger; ties: the lower unit is the stronger.
// samples: which calibration samples are looked at, in the order in which a race sees them; at
// least two (a standard error needs them). Errors: fewer samples; those of `losses`.
Result<SwapOutcome> refine_by_swaps(const Mask& start, const std::vector<double>& scores,
                                    std::span<const std::size_t> samples, const MaskLosses& losses,
                                    const SwapOptions& options);

// {"start_nll", "nll", "swaps": [{"out", "in", "gain", "standard_error"}], "refused"}
nlohmann::json to_json(const SwapOutcome& outcome);

}  // namespace strata
