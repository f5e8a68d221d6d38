// Answer NLL of whole masks: what a search over sets evaluates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "strategies/strategy.h"

namespace strata {

struct ActivationReuse {
  bool on = true;
  std::uint64_t memory_bytes = std::uint64_t{4} << 30;  // of kept layer inputs
};

// A text (its plan aside) under each mask, on one worker, whose own memory `reuse` says. With reuse
// the first mask's run keeps its layers' inputs (what does not fit the memory is run a second time)
// and each other one resumes at the first layer in which it differs; without, every mask runs from
// the first layer. Equal up to rounding.
Result<std::vector<AnswerScore>> score_masks(MeteredModel& model, const SelectionRequest& request,
                                             ForcedRequest text, std::span<const Mask> masks,
                                             const ActivationReuse& reuse);

// The share of one worker.
ActivationReuse of_one_worker(ActivationReuse reuse, const SelectionContext& context);

// A mask on some of the calibration samples, by index.
struct MaskTrial {
  Mask mask;
  std::vector<std::size_t> samples;
};

// Mean answer NLL (nats a token) of each trial on each of its samples, in its order.
using MaskLosses =
    std::function<Result<std::vector<std::vector<double>>>(std::span<const MaskTrial>)>;

// By score_masks, samples spread over the model's workers. request and context must outlive what is
// returned. Errors: those of the model, kInterrupted.
MaskLosses mask_losses(const SelectionRequest& request, SelectionContext& context,
                       ActivationReuse reuse);

}  // namespace strata
