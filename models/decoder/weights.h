// Weights of a decoder as tensors. On the CPU in the file's own dtype they are views of the mapped
// file: no copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "core/result.h"
#include "models/checkpoint/checkpoint.h"

namespace strata {

// Undefined tensors are parts that the family does not have.
struct LayerWeights {
  at::Tensor input_norm, post_norm;
  at::Tensor q, k, v, o;
  at::Tensor q_bias, k_bias, v_bias, o_bias;
  at::Tensor q_norm, k_norm;  // Qwen3: RMSNorm over each head
  at::Tensor gate, up, down;
};

struct Weights {
  at::Tensor embedding;  // [vocabulary, hidden]
  at::Tensor final_norm;
  at::Tensor lm_head;              // the embedding where tied
  at::Tensor inverse_frequencies;  // of the rotary embedding, float32, [head_dim / 2]
  std::vector<LayerWeights> layers;
};

// Not under InferenceMode: weights made there could never be trained later. The checkpoint must
// outlive the weights.
Result<Weights> load_weights(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype);

}  // namespace strata
