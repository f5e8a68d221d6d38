// The part of a weight that belongs to some heads of a layer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace strata {

// Rows (dimension 0) or columns (dimension 1) [h·width, (h + 1)·width) of each head h, one behind
// the other, as a copy; nothing of nothing. `heads`: kLong, on the weight's device.
inline at::Tensor head_slices(const at::Tensor& weight, const at::Tensor& heads, std::int64_t width,
                              std::int64_t dimension = 0) {
  if (!weight.defined()) return {};
  return weight.unflatten(dimension, {-1, width})
      .index_select(dimension, heads)
      .flatten(dimension, dimension + 1);
}

}  // namespace strata
