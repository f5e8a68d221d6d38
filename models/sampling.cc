#include "models/sampling.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include "core/result.h"

namespace strata {

at::Tensor sample_rows(const at::Tensor& logits_NV, double temperature,
                       std::span<const double> uniforms) {
  STRATA_CHECK(logits_NV.size(0) == static_cast<std::int64_t>(uniforms.size()) && temperature > 0);
  const at::Tensor u_N1 =
      at::tensor(c10::ArrayRef<double>(uniforms.data(), uniforms.size()), at::kDouble)
          .to(logits_NV.device())
          .unsqueeze(1);
  const at::Tensor cumulative_NV =
      at::softmax(logits_NV.to(at::kDouble) / temperature, 1).cumsum(1);
  const std::int64_t last = logits_NV.size(1) - 1;
  // The sum of all is 1 but for rounding.
  return (cumulative_NV <= u_N1 * cumulative_NV.narrow(1, last, 1))
      .sum(1)
      .clamp_max(last)
      .to(at::kCPU, at::kInt);
}

}  // namespace strata
