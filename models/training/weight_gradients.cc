#include "models/training/weight_gradients.h"

#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <torch/csrc/autograd/autograd.h>

#include "core/result.h"

namespace strata {

WeightGradients::WeightGradients(const Decoder& decoder) : decoder_(decoder), first_{0} {
  Weights handles = decoder.weights();  // of the same tensors
  int layer = -1;
  for (const WeightPart& part : weight_parts(decoder.architecture(), handles)) {
    STRATA_CHECK(part.tensor->requires_grad(), "{} requires no gradient", part.name);
    if (part.layer != layer) {
      first_.push_back(weights_.size());
      layer = part.layer;
    }
    weights_.push_back(*part.tensor);
    const bool is_double = part.tensor->scalar_type() == at::kDouble;
    sums_.push_back(at::zeros(
        part.tensor->sizes(),
        part.tensor->options().dtype(is_double ? at::kDouble : at::kFloat).requires_grad(false)));
  }
  first_.push_back(weights_.size());
}

void WeightGradients::add(int layer, std::span<const at::Tensor> gradients, double scale) {
  const at::NoGradGuard no_grad;
  const std::span<const at::Tensor> sums = of_layer(sums_, layer);
  STRATA_CHECK(gradients.size() == sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (gradients[i].defined()) sums[i].add_(gradients[i], scale);
}

void WeightGradients::add_sink_logits(int layer, const at::Tensor& gradient_H) {
  const std::span<const at::Tensor> here = weights(layer);
  for (std::size_t i = 0; i < here.size(); ++i)
    if (here[i].is_same(decoder_.sink_logits(layer))) of_layer(sums_, layer)[i].add_(gradient_H);
}

void WeightGradients::clear() {
  for (const at::Tensor& sum : sums_) sum.zero_();
}

Tensors differentiate(const Tensors& outputs, const Tensors& inputs, const Tensors& d_outputs,
                      WeightGradients* sums, int layer, double scale) {
  if (sums == nullptr) return torch::autograd::grad(outputs, inputs, d_outputs);
  Tensors all = inputs;
  const std::span<const at::Tensor> weights = sums->weights(layer);
  all.insert(all.end(), weights.begin(), weights.end());
  Tensors d_all = torch::autograd::grad(outputs, all, d_outputs, std::nullopt,
                                        /*create_graph=*/false, /*allow_unused=*/true);
  sums->add(layer, std::span(d_all).subspan(inputs.size()), scale);
  d_all.resize(inputs.size());
  return d_all;
}

}  // namespace strata
