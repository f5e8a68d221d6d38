// A mixture of experts in place of the MLP: a router picks the experts of each token, and what they
// give is added up by the router's weights.
//
// Legend: N packed rows, C hidden size, E experts, K experts a row, I their inner size, M rows of
// one expert. Pure; any floating dtype and device; thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/checkpoint/hf_config.h"
#include "models/decoder/weights.h"

namespace strata {

// Each row costs K experts, whatever E is. On a CUDA device the host waits once for the number of
// rows of each expert.
at::Tensor run_experts(const at::Tensor& x_NC, const ExpertWeights& weights,
                       const ExpertMixture& mixture);

}  // namespace strata
