// Weights of a decoder as tensors. On the CPU in the file's own dtype they are views of the mapped
// file: no copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "models/checkpoint/checkpoint.h"

namespace strata {

// Of all experts of a layer, one behind the other.
struct ExpertWeights {
  at::Tensor router, router_bias;    // [experts, hidden], [experts]
  at::Tensor gate_up, gate_up_bias;  // [experts, hidden, 2 · intermediate]: gate, up, gate, up, …
  at::Tensor down, down_bias;        // [experts, intermediate, hidden]
};

// Undefined tensors are parts that the family does not have.
struct LayerWeights {
  at::Tensor input_norm, mlp_norm;          // before attention and before the MLP
  at::Tensor mixer_out_norm, mlp_out_norm;  // Gemma-3: behind them too
  at::Tensor q, k, v, o;
  at::Tensor q_bias, k_bias, v_bias, o_bias;
  at::Tensor q_norm, k_norm;  // RMSNorm over each head; q_norm holds Gemma-3's query scale too
  at::Tensor sink_logits;     // [query heads]
  at::Tensor gate, up, down;
  ExpertWeights experts;  // in place of gate, up, down
};

// Norms whose family scales by 1 + weight hold that sum; theirs and gpt_oss's are in float32 at
// least.
struct Weights {
  at::Tensor embedding;  // [vocabulary, hidden]
  at::Tensor final_norm;
  at::Tensor lm_head;                    // the embedding where tied
  at::Tensor inverse_frequencies;        // of the rotary embedding, float32, [head_dim / 2]
  at::Tensor local_inverse_frequencies;  // of layers with LayerRope::kLocal; else undefined
  std::vector<LayerWeights> layers;
};

// A weight as checkpoints name it: tensor = (stored + shift) · scale.
struct WeightPart {
  std::string name;
  std::vector<std::int64_t> shape;
  at::Tensor* tensor = nullptr;
  int layer = -1;  // −1: outside the layers
  double shift = 0, scale = 1;
  bool wide = false;  // in float32 at least
};

// Every weight of a family once (a tied LM head is the embedding), those outside the layers first,
// then layer by layer. The pointers are into `weights`, whose list of layers has its length.
std::vector<WeightPart> weight_parts(const Architecture& architecture, Weights& weights);

// A copy in memory of its own, made of leaves that require gradients.
Weights trainable_copy(const Architecture& architecture, Weights weights);

// Not under InferenceMode: weights made there could never be trained later. The checkpoint must
// outlive the weights.
Result<Weights> load_weights(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype);

}  // namespace strata
