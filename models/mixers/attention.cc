#include "models/mixers/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
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
#include "models/mixers/attention_avx512.h"

namespace strata {
namespace {

// Attention over one key set, with what a merge with another key set needs.
struct Partial {
  at::Tensor out_BHND;
  at::Tensor lse_BHN;
};

Partial merge(const Partial& a, const Partial& b) {
  const at::Tensor weight_of_a = at::sigmoid(a.lse_BHN - b.lse_BHN).unsqueeze(-1);
  return {at::lerp(b.out_BHND, a.out_BHND, weight_of_a.to(a.out_BHND.scalar_type())),
          at::logaddexp(a.lse_BHN, b.lse_BHN)};
}

// What is left of the values once a learned sink has taken its share of the softmax.
at::Tensor beside_sink(const Partial& part, const at::Tensor& sink_logits_H) {
  if (!sink_logits_H.defined()) return part.out_BHND;
  const at::Tensor logit = sink_logits_H.to(part.lse_BHN.scalar_type()).unsqueeze(-1);
  const at::Tensor share = at::sigmoid(part.lse_BHN - logit).unsqueeze(-1);
  return part.out_BHND * share.to(part.out_BHND.scalar_type());
}

bool is_half(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf;
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
  if (is_half(scores)) scores = scores.to(at::kFloat);
  if (mask_NM.defined())
    scores = (scores.view({blocks, kv_heads, group, rows, -1}) + mask_NM).flatten(2, 3);
  const at::Tensor lse = at::logsumexp(scores, -1);
  const at::Tensor weights = (scores - lse.unsqueeze(-1)).exp().to(v_BGMD.scalar_type());
  return {at::matmul(weights, v_BGMD).view({blocks, heads, rows, width}),
          lse.view({blocks, heads, rows})};
}

// FlashAttention on a CUDA device: grouped heads as they are, rows aligned with the keys' end. Row
// i of N sees keys (M − N + i) − window + 1 … M − N + i; window 0 = all.
Partial flash_cuda(const at::Tensor& q_BHND, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                   bool causal, std::int64_t window) {
  const auto rows_first = [](const at::Tensor& x) { return x.transpose(1, 2); };
  std::optional<std::int64_t> left, right;
  if (window > 0) {
    left = window - 1;
    right = 0;
  }
  const auto result = at::_flash_attention_forward(
      rows_first(q_BHND), rows_first(k_BGMD), rows_first(v_BGMD), std::nullopt, std::nullopt,
      q_BHND.size(2), k_BGMD.size(2), /*dropout_p=*/0.0, causal && window == 0,
      /*return_debug_mask=*/false, std::nullopt, left, right);
  return {std::get<0>(result).transpose(1, 2), std::get<1>(result)};
}

bool has_flash_cuda(const at::Tensor& q_BHND) {
  return q_BHND.is_cuda() && is_half(q_BHND) && q_BHND.size(3) % 8 == 0 && q_BHND.size(3) <= 256;
}

bool has_fused_kernel(const at::Tensor& q_BHND) {
  return q_BHND.is_cpu() || has_flash_cuda(q_BHND) || q_BHND.scalar_type() == at::kFloat;
}

// The fused kernels; a causal mask covers as many keys as rows. `mask_NM` on the CPU alone.
Partial fused(const at::Tensor& q_BHND, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
              bool causal, const at::Tensor& mask_NM) {
  if (q_BHND.is_cpu()) {
    const auto mask = mask_NM.defined() ? std::optional<at::Tensor>(mask_NM) : std::nullopt;
    auto [out, lse] = at::_scaled_dot_product_flash_attention_for_cpu(
        q_BHND, k_BGMD, v_BGMD, /*dropout_p=*/0.0, causal, mask);
    return {out, lse};
  }
  STRATA_CHECK(!mask_NM.defined());
  if (has_flash_cuda(q_BHND)) return flash_cuda(q_BHND, k_BGMD, v_BGMD, causal, 0);
  const auto result = at::_scaled_dot_product_efficient_attention(
      q_BHND, repeat_heads(k_BGMD, q_BHND.size(1)), repeat_heads(v_BGMD, q_BHND.size(1)),
      std::nullopt, /*compute_log_sumexp=*/true, 0.0, causal);
  // The kernel pads the rows of its log-sum-exp.
  return {std::get<0>(result), std::get<1>(result).narrow(2, 0, q_BHND.size(2))};
}

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

// Rows at positions [begin, begin + N) see every key of [0, i]; keys hold [0, begin + N). Most
// fused kernels align their causal mask top-left, so the keys before the chunk are a part of their
// own.
Partial causal(const at::Tensor& q_BHND, std::int64_t begin, const at::Tensor& k_BGMD,
               const at::Tensor& v_BGMD) {
  const std::int64_t rows = q_BHND.size(2);
  if (rows == 1) return all_visible(q_BHND, k_BGMD, v_BGMD);
  if (has_flash_cuda(q_BHND)) return flash_cuda(q_BHND, k_BGMD, v_BGMD, true, 0);
  Partial diagonal =
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

// [B, H, N, D] → [B·count, H, length, D]: `count` overlapping blocks of rows, `step` apart.
at::Tensor blocks_of(const at::Tensor& x_BHND, std::int64_t start, std::int64_t step,
                     std::int64_t count, std::int64_t length) {
  const at::Tensor from = x_BHND.narrow(2, start, (count - 1) * step + length);
  const at::Tensor blocks = from.as_strided(
      {x_BHND.size(0), count, x_BHND.size(1), length, x_BHND.size(3)},
      {from.stride(0), step * from.stride(2), from.stride(1), from.stride(2), from.stride(3)});
  return x_BHND.size(0) == 1 ? blocks.squeeze(0) : blocks.flatten(0, 1);
}

// `count` blocks of `rows` queries, the first at q row `first`; block b's keys begin at k row
// key_first + b·rows. The rows of the blocks follow each other in what is returned.
Partial strips(const at::Tensor& q_BHND, std::int64_t first, const at::Tensor& k_BGMD,
               const at::Tensor& v_BGMD, std::int64_t key_first, std::int64_t rows,
               std::int64_t count, std::int64_t window) {
  const at::Tensor q = blocks_of(q_BHND, first, rows, count, rows);
  const at::Tensor k = blocks_of(k_BGMD, key_first, rows, count, rows + window - 1);
  const at::Tensor v = blocks_of(v_BGMD, key_first, rows, count, rows + window - 1);
  const at::Tensor mask = strip_mask(rows, window, q_BHND);
  const bool use_fused = q.is_cpu() && rows > 1;
  const Partial part =
      use_fused ? fused(q, k, v, false, mask.to(q.scalar_type())) : by_products(q, k, v, mask);
  const auto join = [&](const at::Tensor& x) {
    return x.unflatten(0, {q_BHND.size(0), count}).transpose(1, 2).flatten(2, 3);
  };
  return {join(part.out_BHND), join(part.lse_BHN)};
}

// A view whose two parts follow each other, as one part.
KeyView joined(const KeyView& keys) {
  const std::int64_t sinks = keys.sink_k_BGSD.defined() ? keys.sink_k_BGSD.size(2) : 0;
  STRATA_CHECK(keys.tail_begin == sinks, "{} {}", keys.tail_begin, sinks);
  if (sinks == 0) return {{}, {}, keys.tail_k_BGMD, keys.tail_v_BGMD, 0};
  return {{},
          {},
          at::cat({keys.sink_k_BGSD, keys.tail_k_BGMD}, 2),
          at::cat({keys.sink_v_BGSD, keys.tail_v_BGMD}, 2),
          0};
}

// Queries at [begin, begin + N), all ≥ window + sinks; their windows and the sinks do not meet.
void attend_band(const at::Tensor& q_BHND, std::int64_t begin, const KeyView& keys,
                 const SlidingWindow& sliding, const at::Tensor& out_BHND,
                 const at::Tensor& sink_logits_H) {
  constexpr std::int64_t kCpuBlock = 32, kSlabRows = 1024, kMinBlock = 32, kMaxBlock = 256;
  const std::int64_t rows = q_BHND.size(2), window = sliding.window;
  const std::int64_t key_offset = begin - window + 1 - keys.tail_begin;
  if (key_offset < 0) {
    // The store keeps more sinks than this entry counts, so the first windows reach into its sinks
    // part.
    attend_band(q_BHND, begin, joined(keys), sliding, out_BHND, sink_logits_H);
    return;
  }

  // Adds the sinks' part to the windows' part of rows [first, first + part's rows).
  const auto finish = [&](Partial part, std::int64_t first) {
    const std::int64_t count = part.out_BHND.size(2);
    if (sliding.sinks > 0) {
      const bool stored_apart = keys.sink_k_BGSD.defined();
      const at::Tensor& k = stored_apart ? keys.sink_k_BGSD : keys.tail_k_BGMD;
      const at::Tensor& v = stored_apart ? keys.sink_v_BGSD : keys.tail_v_BGMD;
      part = merge(part, all_visible(q_BHND.narrow(2, first, count), k.narrow(2, 0, sliding.sinks),
                                     v.narrow(2, 0, sliding.sinks)));
    }
    out_BHND.narrow(2, first, count).copy_(beside_sink(part, sink_logits_H));
  };
  if (has_flash_cuda(q_BHND)) {
    const auto seen = [&](const at::Tensor& x) {
      return x.narrow(2, key_offset, rows + window - 1);
    };
    finish(flash_cuda(q_BHND, seen(keys.tail_k_BGMD), seen(keys.tail_v_BGMD), true, window), 0);
    return;
  }
  // On the CPU in blocks of the rows that its kernel takes at once (a larger block adds masked keys
  // and no speed) and in slabs whose temporaries stay in the cache; elsewhere a launch costs more
  // than memory.
  const bool cpu = q_BHND.is_cpu();
  const std::int64_t block = cpu ? kCpuBlock : std::clamp(window / 2, kMinBlock, kMaxBlock);
  const std::int64_t slab = cpu ? kSlabRows / kCpuBlock : rows;
  const auto windows = [&](std::int64_t first, std::int64_t length, std::int64_t count) {
    return strips(q_BHND, first, keys.tail_k_BGMD, keys.tail_v_BGMD, key_offset + first, length,
                  count, window);
  };
  const std::int64_t count = rows / block, rest = rows % block;
  for (std::int64_t done = 0; done < count; done += slab)
    finish(windows(done * block, block, std::min(slab, count - done)), done * block);
  if (rest > 0) finish(windows(count * block, rest, 1), count * block);
}

}  // namespace

void attend(const at::Tensor& q_BHND, std::int64_t begin, const KeyView& keys,
            const PaletteEntry& entry, std::int64_t prompt_length, const at::Tensor& out_BHND,
            const at::Tensor& sink_logits_H) {
  const std::int64_t rows = q_BHND.size(2), end = begin + rows;
  const SlidingWindow* sliding = window_of(entry.mixer);
  // Under rule `full` the rows from the prompt's end on see everything.
  const std::int64_t windowed_end = sliding == nullptr ? begin
                                    : entry.rule == DecodeRule::kFull
                                        ? std::clamp(prompt_length, begin, end)
                                        : end;
  if (rows > 1 && has_avx512_attention(q_BHND)) {
    const auto part = [&](std::int64_t from, std::int64_t to, std::int64_t window,
                          std::int64_t sinks) {
      if (from >= to) return;
      attend_avx512(q_BHND.narrow(2, from - begin, to - from), from, keys, window, sinks,
                    out_BHND.narrow(2, from - begin, to - from), sink_logits_H);
    };
    // In slabs whose packed keys stay in the cache; a slab packs its windows' keys, so it is longer
    // than they are.
    constexpr std::int64_t kSlabRows = 1024;
    if (sliding != nullptr)
      for (std::int64_t from = begin; from < windowed_end;) {
        const std::int64_t slab = std::max(kSlabRows, 4 * sliding->window);
        const std::int64_t to = std::min(windowed_end, from + slab);
        part(from, to, sliding->window, sliding->sinks);
        from = to;
      }
    part(windowed_end, end, end, 0);
    return;
  }
  // Rows [from, to) see every key before them: the view holds all of [0, to).
  const auto plain = [&](std::int64_t from, std::int64_t to) {
    if (from >= to) return;
    const KeyView all = joined(keys);
    const Partial part = causal(q_BHND.narrow(2, from - begin, to - from), from,
                                all.tail_k_BGMD.narrow(2, 0, to), all.tail_v_BGMD.narrow(2, 0, to));
    out_BHND.narrow(2, from - begin, to - from).copy_(beside_sink(part, sink_logits_H));
  };

  if (sliding == nullptr) {
    plain(begin, end);
    return;
  }
  const std::int64_t band_begin = std::clamp(sliding->window + sliding->sinks, begin, windowed_end);
  plain(begin, band_begin);
  if (band_begin < windowed_end)
    attend_band(q_BHND.narrow(2, band_begin - begin, windowed_end - band_begin), band_begin, keys,
                *sliding, out_BHND.narrow(2, band_begin - begin, windowed_end - band_begin),
                sink_logits_H);
  plain(windowed_end, end);
}

at::Tensor attend_all(const at::Tensor& q_BH1D, const at::Tensor& k_BGMD, const at::Tensor& v_BGMD,
                      const at::Tensor& sink_logits_H) {
  if (has_flash_cuda(q_BH1D))
    return beside_sink(flash_cuda(q_BH1D, k_BGMD, v_BGMD, false, 0), sink_logits_H);
  if (sink_logits_H.defined())
    return beside_sink(by_products(q_BH1D, k_BGMD, v_BGMD, {}), sink_logits_H);
  // As by_products, but nothing is merged, so the log-sum-exp is not needed.
  const double scale = 1.0 / std::sqrt(static_cast<double>(q_BH1D.size(3)));
  const at::Tensor q =
      (q_BH1D * scale).reshape({q_BH1D.size(0), k_BGMD.size(1), -1, q_BH1D.size(3)});
  const at::Tensor scores = at::matmul(q, k_BGMD.transpose(-1, -2));
  const at::Tensor weights =
      at::softmax(scores, -1, is_half(scores) ? at::kFloat : scores.scalar_type());
  return at::matmul(weights.to(v_BGMD.scalar_type()), v_BGMD).reshape(q_BH1D.sizes());
}

}  // namespace strata
