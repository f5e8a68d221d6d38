// Attention on x86 processors with AVX-512, in float32 and bfloat16: causal, window and sinks in
// one pass over the keys that are seen, without masks, copies of queries or merges.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/mixers/attention.h"

namespace strata {

// On the CPU, float32 or bfloat16, a head size that is a multiple of 16 and at most 256.
bool has_avx512_attention(const at::Tensor& q_BHND);

// As attend(), for rows that all follow one rule: position p sees [p − window + 1, p] and [0,
// sinks). window ≥ 1; a window beyond the first position is full attention.
void attend_avx512(const at::Tensor& q_BHND, std::int64_t begin, const KeyView& keys,
                   std::int64_t window, std::int64_t sinks, const at::Tensor& out_BHND,
                   const at::Tensor& sink_logits_H);

}  // namespace strata
