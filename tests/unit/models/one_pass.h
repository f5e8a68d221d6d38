// A gated pass of one request.
#pragma once

#include <cstdint>
#include <utility>

#include "models/training/gated_pass.h"

namespace strata::testing {

inline Result<GatedGradient> gate_gradient(MeteredModel& model, const GatedAttention& attention,
                                           const GatedRequest& request,
                                           std::uint64_t memory_bytes) {
  const SilentProgress progress;
  ASSIGN_OR_RETURN(std::vector<GatedGradient> all,
                   gate_gradients(model, attention, {&request, 1}, {.memory_bytes = memory_bytes},
                                  progress, {}));
  return std::move(all[0]);
}

}  // namespace strata::testing
