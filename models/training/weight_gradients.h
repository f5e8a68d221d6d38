// Gradients of all weights of a model, summed over passes: in float32, in float64 for a model in
// float64. A pass hands them over layer by layer as it goes down (models/training/gated_pass.h), so
// that no graph of the whole model exists. One thread's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"

namespace strata {

class WeightGradients {
 public:
  // Zeros. The decoder's weights must be leaves that require gradients.
  explicit WeightGradients(const Decoder& decoder);

  // The weights of a layer (−1: those outside the layers).
  std::span<const at::Tensor> weights(int layer) const { return of_layer(weights_, layer); }
  // Adds scale · gradients, one of each of weights(layer); an undefined one is 0.
  void add(int layer, std::span<const at::Tensor> gradients, double scale = 1);
  // Of weights(layer), the one that stores sink logits, which attention differentiates itself.
  void add_sink_logits(int layer, const at::Tensor& gradient_H);

  // In the order of weight_parts (models/decoder/weights.h).
  std::span<const at::Tensor> sums() const { return sums_; }
  void clear();

 private:
  std::span<const at::Tensor> of_layer(const std::vector<at::Tensor>& all, int layer) const {
    const std::size_t i = static_cast<std::size_t>(layer) + 1;  // −1 becomes 0
    return std::span(all).subspan(first_[i], first_[i + 1] - first_[i]);
  }

  const Decoder& decoder_;
  std::vector<at::Tensor> weights_, sums_;
  std::vector<std::size_t> first_;  // [layer + 1], and one behind the last
};

using Tensors = std::vector<at::Tensor>;

// Σ d_outputs · ∂ outputs/∂ inputs. Where `sums` is given, what that makes for the weights of
// `layer`, times `scale`, is added to it; weights that the outputs do not depend on get nothing.
Tensors differentiate(const Tensors& outputs, const Tensors& inputs, const Tensors& d_outputs,
                      WeightGradients* sums, int layer, double scale = 1);

}  // namespace strata
