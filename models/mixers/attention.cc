#include "models/mixers/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/result.h"

namespace strata {
namespace {

// Attention over one key set, with what a merge with another key set needs. B counts blocks of
// queries.
struct Partial {
  at::Tensor out_BHND;
  at::Tensor lse_BHN;
};

Partial merge(const Partial& a, const Partial& b) {
  const at::Tensor weight_of_a = at::sigmoid(a.lse_BHN - b.lse_BHN).unsqueeze(-1);
  return {at::lerp(b.out_BHND, a.out_BHND, weight_of_a.to(a.out_BHND.scalar_type())),
          at::logaddexp(a.lse_BHN, b.lse_BHN)};
}

at::Tensor repeat_heads(const at::Tensor& x_BGMD, std::int64_t heads) {
  const std::int64_t group = heads / x_BGMD.size(1);
  if (group == 1) return x_BGMD;
  return x_BGMD.unsqueeze(2)
      .expand({x_BGMD.size(0), x_BGMD.size(1), group, x_BGMD.size(2), x_BGMD.size(3)})
      .flatten(1, 2);
}

// softmax(q kᵀ/√D + mask) v by plain matrix products: for small key sets, and for what the fused
// kernels lack.
Partial by_products(const at::Tensor& q_BHND, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                    const at::Tensor& mask_NM) {
  const std::int64_t blocks = q_BHND.size(0), heads = q_BHND.size(1), rows = q_BHND.size(2);
  const std::int64_t kv_heads = k_BGMD.size(1), group = heads / kv_heads, width = q_BHND.size(3);
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  // Query heads of a KV head become rows of one product, so K and V are never copied.
  const at::Tensor q = (q_BHND * scale).reshape({blocks, kv_heads, group * rows, width});
  at::Tensor scores = at::matmul(q, k_BGMD.transpose(-1, -2));
  if (scores.scalar_type() == at::kBFloat16 || scores.scalar_type() == at::kHalf)
    scores = scores.to(at::kFloat);
  if (mask_NM.defined())
    scores = (scores.view({blocks, kv_heads, group, rows, -1}) + mask_NM).flatten(2, 3);
  const at::Tensor lse = at::logsumexp(scores, -1);
  const at::Tensor weights = (scores - lse.unsqueeze(-1)).exp().to(v_BGMD.scalar_type());
  return {at::matmul(weights, v_BGMD).view({blocks, heads, rows, width}),
          lse.view({blocks, heads, rows})};
}

Partial fused(const at::Tensor& q_BHND, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
              bool causal, const at::Tensor& mask_NM) {
  if (q_BHND.is_cpu()) {
    const auto mask = mask_NM.defined() ? std::optional<at::Tensor>(mask_NM) : std::nullopt;
    auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        q_BHND, k_BGMD, v_BGMD, /*dropout_p=*/0.0, causal, mask);
    return {out, lse};
  }
  STRATA_CHECK(!mask_NM.defined());
  const at::Tensor k = repeat_heads(k_BGMD, q_BHND.size(1));
  const at::Tensor v = repeat_heads(v_BGMD, q_BHND.size(1));
  if (q_BHND.scalar_type() == at::kBFloat16 || q_BHND.scalar_type() == at::kHalf) {
    const auto result = at::_scaled_dot_product_flash_attention(q_BHND, k, v, 0.0, causal, false);
    return {std::get<0>(result), std::get<1>(result)};
  }
  const auto result = at::_scaled_dot_product_efficient_attention(
      q_BHND, k, v, std::nullopt, /*compute_log_sumexp=*/true, 0.0, causal);
  // The kernel pads the rows of its log-sum-exp.
  return {std::get<0>(result), std::get<1>(result).narrow(2, 0, q_BHND.size(2))};
}

bool has_fused_kernel(const at::Tensor& x) { return x.is_cpu() || x.scalar_type() != at::kDouble; }

// −inf above the diagonal of the last N of M columns, 0 elsewhere; only for devices without a fused
// kernel.
at::Tensor causal_mask(std::int64_t rows, const at::Tensor& like) {
  const at::Tensor index = at::arange(rows, like.options().dtype(at::kLong));
  return at::where(index.unsqueeze(0) > index.unsqueeze(1),
                   at::full({}, -std::numeric_limits<double>::infinity(), like.options()),
                   at::zeros({}, like.options()));
}

// Rows and keys cover the same positions; key j visible to row i iff j ≤ i.
Partial square_causal(const at::Tensor& q_BHND, const at::Tensor& k_BGMD,
                      const at::Tensor& v_BGMD) {
  if (q_BHND.size(2) == 1) return by_products(q_BHND, k_BGMD, v_BGMD, {});
  if (has_fused_kernel(q_BHND)) return fused(q_BHND, k_BGMD, v_BGMD, true, {});
  return by_products(q_BHND, k_BGMD, v_BGMD, causal_mask(q_BHND.size(2), q_BHND));
}

Partial all_visible(const at::Tensor& q_BHND, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD) {
  constexpr std::int64_t kFewKeys = 64;  // below, a product beats a fused kernel's set-up
  if (q_BHND.size(2) == 1 || k_BGMD.size(2) <= kFewKeys || !has_fused_kernel(q_BHND))
    return by_products(q_BHND, k_BGMD, v_BGMD, {});
  return fused(q_BHND, k_BGMD, v_BGMD, false, {});
}

// Rows at positions [begin, begin + N) see every key of [0, i]; keys hold [0, begin + N). The fused
// kernels align their causal mask top-left, so the keys before the chunk are a part of their own.
Partial causal(const at::Tensor& q_BHND, std::int64_t begin, const at::Tensor& k_BGMD,
               const at::Tensor& v_BGMD) {
  const std::int64_t rows = q_BHND.size(2);
  if (rows == 1) return all_visible(q_BHND, k_BGMD, v_BGMD);
  const Partial diagonal =
      square_causal(q_BHND, k_BGMD.narrow(2, begin, rows), v_BGMD.narrow(2, begin, rows));
  if (begin == 0) return diagonal;
  return merge(diagonal,
               all_visible(q_BHND, k_BGMD.narrow(2, 0, begin), v_BGMD.narrow(2, 0, begin)));
}

// The strip of a block: row r of `rows` sees columns [r, r + window) of its rows + window − 1 keys.
at::Tensor strip_mask(std::int64_t rows, std::int64_t window, const at::Tensor& like) {
  const auto options = like.options().dtype(at::kLong);
  const at::Tensor row = at::arange(rows, options).unsqueeze(1);
  const at::Tensor column = at::arange(rows + window - 1, options).unsqueeze(0);
  const at::Tensor visible = at::logical_and(column >= row, column < row + window);
  const auto dtype = like.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::where(visible, 0.0, -std::numeric_limits<double>::infinity()).to(dtype);
}

// `count` blocks of `rows` queries, the first at q row `first`; block b's keys begin at k row
// key_first + b·rows.
Partial strips(const at::Tensor& q_HND, std::int64_t first, const at::Tensor& k_GMD,
               const at::Tensor& v_GMD, std::int64_t key_first, std::int64_t rows,
               std::int64_t count, std::int64_t window) {
  const auto blocks = [count, rows](const at::Tensor& x, std::int64_t start, std::int64_t length) {
    const at::Tensor from = x.narrow(1, start, (count - 1) * rows + length);
    return from.as_strided({count, x.size(0), length, x.size(2)},
                           {rows * x.stride(1), x.stride(0), x.stride(1), x.stride(2)});
  };
  const at::Tensor q = blocks(q_HND, first, rows);
  const at::Tensor k = blocks(k_GMD, key_first, rows + window - 1);
  const at::Tensor v = blocks(v_GMD, key_first, rows + window - 1);
  const at::Tensor mask = strip_mask(rows, window, q_HND);
  const bool use_fused = q.is_cpu() && q.size(2) > 1;
  return use_fused ? fused(q, k, v, false, mask.to(q.scalar_type())) : by_products(q, k, v, mask);
}

// A view whose two parts follow each other, as one part.
KeyView joined(const KeyView& keys) {
  const std::int64_t sinks = keys.sink_k_GSD.defined() ? keys.sink_k_GSD.size(1) : 0;
  STRATA_CHECK(keys.tail_begin == sinks, "{} {}", keys.tail_begin, sinks);
  if (sinks == 0) return {{}, {}, keys.tail_k_GMD, keys.tail_v_GMD, 0};
  return {{},
          {},
          at::cat({keys.sink_k_GSD, keys.tail_k_GMD}, 1),
          at::cat({keys.sink_v_GSD, keys.tail_v_GMD}, 1),
          0};
}

// Queries at [begin, begin + N), all ≥ window + sinks; their windows and the sinks do not meet.
void attend_band(const at::Tensor& q_HND, std::int64_t begin, const KeyView& keys,
                 const SlidingWindow& sliding, const at::Tensor& out_HND) {
  constexpr std::int64_t kMinBlock = 32, kMaxBlock = 256, kSlabRows = 1024;
  const std::int64_t rows = q_HND.size(1), window = sliding.window;
  const std::int64_t block = std::clamp(window / 2, kMinBlock, kMaxBlock);
  const std::int64_t key_offset = begin - window + 1 - keys.tail_begin;
  if (key_offset < 0) {
    // The store keeps more sinks than this entry counts, so the first windows reach into its sinks
    // part.
    attend_band(q_HND, begin, joined(keys), sliding, out_HND);
    return;
  }

  const auto with_sinks = [&](std::int64_t first, std::int64_t length, std::int64_t count) {
    Partial part = strips(q_HND, first, keys.tail_k_GMD, keys.tail_v_GMD, key_offset + first,
                          length, count, window);
    // [count, H, length, D] → [1, H, count·length, D]: blocks follow each other.
    const auto join = [](const at::Tensor& x) {
      return x.transpose(0, 1).flatten(1, 2).unsqueeze(0);
    };
    part = {join(part.out_BHND), join(part.lse_BHN)};
    if (sliding.sinks > 0) {
      const bool stored_apart = keys.sink_k_GSD.defined();
      const at::Tensor& k = stored_apart ? keys.sink_k_GSD : keys.tail_k_GMD;
      const at::Tensor& v = stored_apart ? keys.sink_v_GSD : keys.tail_v_GMD;
      const at::Tensor q = q_HND.narrow(1, first, length * count).unsqueeze(0);
      part = merge(part, all_visible(q, k.narrow(1, 0, sliding.sinks).unsqueeze(0),
                                     v.narrow(1, 0, sliding.sinks).unsqueeze(0)));
    }
    out_HND.narrow(1, first, length * count).copy_(part.out_BHND.squeeze(0));
  };
  // On the CPU in slabs whose temporaries stay in the cache; elsewhere a launch costs more than
  // memory.
  const std::int64_t slab = q_HND.is_cpu() ? std::max<std::int64_t>(1, kSlabRows / block) : rows;
  const std::int64_t count = rows / block, rest = rows % block;
  for (std::int64_t done = 0; done < count; done += slab)
    with_sinks(done * block, block, std::min(slab, count - done));
  if (rest > 0) with_sinks(count * block, rest, 1);
}

}  // namespace

void attend(const at::Tensor& q_HND, std::int64_t begin, const KeyView& keys,
            const PaletteEntry& entry, std::int64_t prompt_length, const at::Tensor& out_HND) {
  const std::int64_t rows = q_HND.size(1), end = begin + rows;
  // Rows [from, to) see every key before them: the view holds all of [0, to).
  const auto plain = [&](std::int64_t from, std::int64_t to) {
    if (from >= to) return;
    const KeyView all = joined(keys);
    const Partial part = causal(q_HND.narrow(1, from - begin, to - from).unsqueeze(0), from,
                                all.tail_k_GMD.narrow(1, 0, to).unsqueeze(0),
                                all.tail_v_GMD.narrow(1, 0, to).unsqueeze(0));
    out_HND.narrow(1, from - begin, to - from).copy_(part.out_BHND.squeeze(0));
  };

  const auto* sliding = std::get_if<SlidingWindow>(&entry.mixer);
  if (sliding == nullptr) {
    plain(begin, end);
    return;
  }
  // Under rule `full` the rows from the prompt's end on see everything.
  const std::int64_t windowed_end =
      entry.rule == DecodeRule::kFull ? std::clamp(prompt_length, begin, end) : end;
  const std::int64_t band_begin = std::clamp(sliding->window + sliding->sinks, begin, windowed_end);
  plain(begin, band_begin);
  if (band_begin < windowed_end)
    attend_band(q_HND.narrow(1, band_begin - begin, windowed_end - band_begin), band_begin, keys,
                *sliding, out_HND.narrow(1, band_begin - begin, windowed_end - band_begin));
  plain(windowed_end, end);
}

at::Tensor attend_all(const at::Tensor& q_H1D, const at::Tensor& k_GMD, const at::Tensor& v_GMD) {
  return all_visible(q_H1D.unsqueeze(0), k_GMD.unsqueeze(0), v_GMD.unsqueeze(0))
      .out_BHND.squeeze(0);
}

}  // namespace strata
