// HydraHead's scores from the effects of heads on pairs (arXiv 2606.20097, equations 11 and 12).
// Pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "strategies/hydra_head_config.h"

namespace strata {

// Of one pair, as shares of what the whole corruption changes; [head].
struct HeadEffects {
  std::vector<double> receiver, sender;
};

struct ProbeEffects {
  std::string name;
  std::vector<HeadEffects> pairs;  // not empty
};

struct HydraScores {
  std::vector<double> receiver, sender;  // [head] means over pairs, then over probes
  std::vector<double> consistency;       // [head] κ, mean over capabilities
  // [head] In [−1e-9, 1]: max(receiver, sender) · κ of each capability, scaled from its least to
  // its greatest over the heads, mean over capabilities. Equal ones, as those with κ = 0 are,
  // differ by at most 1e-9 and in the order of their effects.
  std::vector<double> score;
};

// Means over pairs, in the role given.
std::vector<double> mean_effects(const ProbeEffects& probe, bool sender);

HydraScores hydra_scores(std::span<const ProbeEffects> probes, double threshold,
                         HydraConsistency consistency);

}  // namespace strata
