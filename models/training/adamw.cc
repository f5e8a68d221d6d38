#include "models/training/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace strata {

nlohmann::json to_json(const WeightOptions& options) {
  return {{"rate", options.rate},   {"beta1", options.beta1},
          {"beta2", options.beta2}, {"epsilon", options.epsilon},
          {"clip", options.clip},   {"weight_decay", options.weight_decay}};
}

AdamW::AdamW(std::vector<at::Tensor> weights, WeightOptions options)
    : options_(options), weights_(std::move(weights)) {
  for (const at::Tensor& weight : weights_) {
    STRATA_CHECK(!weight.requires_grad());
    means_.push_back(at::zeros_like(weight));
    squares_.push_back(at::zeros_like(weight));
  }
}

Result<double> AdamW::step(std::span<const at::Tensor> gradients, double rate) {
  STRATA_CHECK(gradients.size() == weights_.size());
  const WeightOptions& o = options_;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> norms;
  norms.reserve(gradients.size());
  for (const at::Tensor& gradient : gradients)
    norms.push_back(at::linalg_vector_norm(gradient, 2, std::nullopt, false, at::kDouble));
  // All of them in one transfer: each waits for the device.
  const at::Tensor on_cpu = at::stack(norms).to(at::kCPU);
  const std::span<const double> values(on_cpu.const_data_ptr<double>(), norms.size());
  double squared = 0;
  for (const double value : values) squared += value * value;
  const double norm = std::sqrt(squared);
  if (!std::isfinite(norm))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "the gradient is not finite after {} steps of training weights", steps_)
                    .with_hint("use a lower rate"));
  const double shrink = o.clip > 0 ? std::min(1.0, o.clip / (norm + 1e-6)) : 1.0;
  ++steps_;
  const double correction1 = 1 - std::pow(o.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(o.beta2, static_cast<double>(steps_));
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const at::Tensor& gradient = gradients[i].mul_(shrink);
    means_[i].mul_(o.beta1).add_(gradient, 1 - o.beta1);
    squares_[i].mul_(o.beta2).addcmul_(gradient, gradient, 1 - o.beta2);
    const at::Tensor scale = (squares_[i] / correction2).sqrt_().add_(o.epsilon);
    weights_[i].mul_(1 - rate * o.weight_decay).addcdiv_(means_[i], scale, -rate / correction1);
  }
  return norm;
}

}  // namespace strata
