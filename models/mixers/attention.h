// Softmax attention of a head group over cached and new keys: full, and sliding window with sinks;
// for a batch of sequences at the same positions.
//
// Exact by the visibility rule of core/plan.h. No dense mask over the sequence: rows below window +
// sinks are plain causal; from there on the window's band (blocks of queries against their own
// strip of keys) and the sinks are disjoint key sets, merged by log-sum-exp; on a processor with
// AVX-512 one kernel sums over both (attention_avx512.h). Cost of a windowed row does not grow with
// the sequence.
//
// Legend: B sequences, H query heads, G KV heads (H a multiple of G; query head h reads KV head
// h / (H/G)), N query rows, M key rows, S sinks, D head size. Pure functions; any floating dtype
// and device; thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/plan.h"

namespace strata {

// Keys a chunk may look at: positions [0, sinks.size) and [tail_begin, tail_begin + M). Where
// everything is there (full storage), the sinks part is undefined and tail_begin is 0.
struct KeyView {
  at::Tensor sink_k_BGSD, sink_v_BGSD;
  at::Tensor tail_k_BGMD, tail_v_BGMD;
  std::int64_t tail_begin = 0;
};

// Queries at absolute positions [begin, begin + N); the view must end at the last of them and hold
// every key that the entry lets them see. scale is 1/√D. Writes every element of out_BHND, which
// has q's shape and any strides. Where sink_logits_H is defined, it takes part in the softmax of
// its head as the score of one more key whose value is zero (a weight of the model, no token).
void attend(const at::Tensor& q_BHND, std::int64_t begin, const KeyView& keys,
            const PaletteEntry& entry, std::int64_t prompt_length, const at::Tensor& out_BHND,
            const at::Tensor& sink_logits_H = {});

// One query a sequence over an unordered set of keys, all visible (decode over a ring buffer or a
// whole cache).
at::Tensor attend_all(const at::Tensor& q_BH1D, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                      const at::Tensor& sink_logits_H = {});

}  // namespace strata
