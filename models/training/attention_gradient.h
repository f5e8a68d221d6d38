// Gradients of softmax attention with respect to queries, keys and values, for any entry of a plan:
// the backward half of models/mixers/attention.h.
//
// With P = softmax(q kᵀ/√D over visible keys), out = P v and dOut given: dV = Pᵀ dOut,
// dS = P ∘ (dOut vᵀ − rowsum(P ∘ dOut vᵀ)), dQ = dS k/√D, dK = dSᵀ q/√D. Blocks of query rows look
// at their own strip of keys, P is computed anew: memory and work of a windowed row do not grow
// with the sequence. Sums run in float32 at least. Letters as in attention.h; thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "core/plan.h"

namespace strata {

// Query rows [begin, end) and the keys some of them see: [0, sinks) and [tail_begin, end).
struct QueryBlock {
  std::int64_t begin = 0, end = 0;
  std::int64_t sinks = 0, tail_begin = 0;
  at::Tensor hidden_NM;  // true where a key of the strip must not be seen
};

// The blocks of rows [begin, end) of a sequence: the same for all layers of a pass.
std::vector<QueryBlock> query_blocks(const PaletteEntry& entry, std::int64_t begin,
                                     std::int64_t end, std::int64_t prompt_length,
                                     at::Device device);

struct AttentionGradients {
  at::Tensor q_BHND, k_BGMD, v_BGMD;  // float32 or float64
  at::Tensor sink_logits_H;           // undefined where nobody asks for it
};

// Adds to `sum`. Query rows are those of the blocks, one behind the other; keys start at position
// 0.
void add_attention_gradients(const at::Tensor& q_BHND, const at::Tensor& k_BGMD,
                             const at::Tensor& v_BGMD, const std::vector<QueryBlock>& blocks,
                             const at::Tensor& sink_logits_H, const at::Tensor& d_out_BHND,
                             AttentionGradients& sum);

}  // namespace strata
