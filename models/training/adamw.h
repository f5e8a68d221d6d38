// AdamW (Loshchilov and Hutter, 2019) over tensors, with the norm of the whole gradient clipped.
// (adam.h is for a few numbers.) One thread's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "models/training/weight_options.h"

namespace strata {

class AdamW {
 public:
  // Writes into the weights' memory: float32 or float64, without gradients.
  AdamW(std::vector<at::Tensor> weights, WeightOptions options);

  // One gradient a weight, which is used up. `rate` in place of the options'. Returns the norm
  // before clipping. Errors: a gradient that is not finite; the weights then stay as they are.
  Result<double> step(std::span<const at::Tensor> gradients, double rate);

  const WeightOptions& options() const { return options_; }
  std::span<const at::Tensor> weights() const { return weights_; }
  // What the steps to come depend on, beside the weights. Tensors share memory.
  std::span<const at::Tensor> means() const { return means_; }
  std::span<const at::Tensor> squares() const { return squares_; }
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps) { steps_ = steps; }

 private:
  WeightOptions options_;
  std::vector<at::Tensor> weights_, means_, squares_;
  std::int64_t steps_ = 0;
};

}  // namespace strata
