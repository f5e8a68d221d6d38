// Softmax attention for autograd: forward by the kernels of models/mixers/attention.h, which record
// nothing, backward by models/training/attention_gradient.h. For one pass over a text from its
// first token; gradients of gradients are not there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/plan.h"

namespace strata {

// Letters as in attention.h: queries at [begin, begin + N) over keys at [0, begin + N), in q's
// type. Gradients reach q, k, v and the sink logits (undefined where the family has none).
at::Tensor recorded_attention(const at::Tensor& q_BHND, std::int64_t begin,
                              const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                              const PaletteEntry& entry, std::int64_t prompt_length,
                              const at::Tensor& sink_logits_H);

}  // namespace strata
