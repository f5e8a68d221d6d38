// Drawing next tokens from a model's distribution.
//
// A row's token is where its uniform number falls in the cumulative distribution, in the order of
// ids: it depends on the row's logits, the temperature and that number alone. Pure; thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

namespace strata {

// Of softmax(logits / temperature), summed in float64: the first token whose cumulative probability
// is above u. One u ∈ [0, 1) a row. int32 on the CPU, [rows].
at::Tensor sample_rows(const at::Tensor& logits_NV, double temperature,
                       std::span<const double> uniforms);

}  // namespace strata
