// Answer NLL of whole masks: what a search over sets evaluates.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "strategies/strategy.h"

namespace strata {

// A mask on some of the calibration samples, by index.
struct MaskTrial {
  Mask mask;
  std::vector<std::size_t> samples;
};

// Mean answer NLL (nats a token) of each trial on each of its samples, in its order.
using MaskLosses =
    std::function<Result<std::vector<std::vector<double>>>(std::span<const MaskTrial>)>;

// By teacher forcing, samples spread over the model's workers. Both arguments must outlive what is
// returned. Errors: those of the model, kInterrupted.
MaskLosses mask_losses(const SelectionRequest& request, SelectionContext& context);

}  // namespace strata
