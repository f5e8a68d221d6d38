#include "models/training/attention_gradient.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace strata {
namespace {

// Rows of a block. On a GPU few large products beat many small ones; on a CPU a strip should not be
// much wider than a window.
constexpr std::int64_t kRowsOnCpu = 128, kRowsOnGpu = 1024;

QueryBlock block_of(const PaletteEntry& entry, std::int64_t begin, std::int64_t end, bool sees_all,
                    at::Device device) {
  const SlidingWindow* sliding = window_of(entry.mixer);
  QueryBlock block{.begin = begin, .end = end};
  const auto options = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor query_N1 = at::arange(begin, end, options).unsqueeze(1);
  if (sliding == nullptr || sees_all) {
    block.hidden_NM = at::arange(end, options).unsqueeze(0) > query_N1;
    return block;
  }
  const std::int64_t tail = std::max<std::int64_t>(0, begin - sliding->window + 1);
  block.sinks = tail > sliding->sinks ? sliding->sinks : 0;
  block.tail_begin = tail > sliding->sinks ? tail : 0;
  const at::Tensor key_1M =
      at::cat({at::arange(block.sinks, options), at::arange(block.tail_begin, end, options)})
          .unsqueeze(0);
  block.hidden_NM =
      (key_1M > query_N1)
          .logical_or_(
              (query_N1 - key_1M >= sliding->window).logical_and_(key_1M >= sliding->sinks));
  return block;
}

at::Tensor strip(const at::Tensor& x_BGMD, const QueryBlock& block) {
  const at::Tensor tail = x_BGMD.narrow(2, block.tail_begin, block.end - block.tail_begin);
  return block.sinks == 0 ? tail : at::cat({x_BGMD.narrow(2, 0, block.sinks), tail}, 2);
}

void add_strip(const at::Tensor& sum_BGMD, const at::Tensor& part, const QueryBlock& block) {
  if (block.sinks > 0) sum_BGMD.narrow(2, 0, block.sinks).add_(part.narrow(2, 0, block.sinks));
  const std::int64_t tail = block.end - block.tail_begin;
  sum_BGMD.narrow(2, block.tail_begin, tail).add_(part.narrow(2, block.sinks, tail));
}

// Half precision is too coarse for scores: their error is relative to their size.
at::Tensor wide(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat);
}

}  // namespace

std::vector<QueryBlock> query_blocks(const PaletteEntry& entry, std::int64_t begin,
                                     std::int64_t end, std::int64_t prompt_length,
                                     at::Device device) {
  const std::int64_t rows = device.is_cpu() ? kRowsOnCpu : kRowsOnGpu;
  std::vector<QueryBlock> blocks;
  while (begin < end) {
    const bool sees_all = entry.rule == DecodeRule::kFull && begin >= prompt_length;
    std::int64_t stop = std::min(begin + rows, end);
    if (entry.rule == DecodeRule::kFull && !sees_all) stop = std::min(stop, prompt_length);
    blocks.push_back(block_of(entry, begin, stop, sees_all, device));
    begin = stop;
  }
  return blocks;
}

void add_attention_gradients(const at::Tensor& q_BHND, const at::Tensor& k_BGMD,
                             const at::Tensor& v_BGMD, const std::vector<QueryBlock>& blocks,
                             const at::Tensor& sink_logits_H, const at::Tensor& d_out_BHND,
                             AttentionGradients& sum) {
  const std::int64_t batch = q_BHND.size(0), heads = q_BHND.size(1), width = q_BHND.size(3);
  const std::int64_t kv_heads = k_BGMD.size(1), group = heads / kv_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  const at::Tensor all_q = wide(q_BHND) * scale, all_k = wide(k_BGMD), all_v = wide(v_BGMD);
  const at::Tensor all_d_out = wide(d_out_BHND);
  at::Tensor sink_11G1;
  if (sink_logits_H.defined()) sink_11G1 = wide(sink_logits_H).view({1, kv_heads, group, 1});
  for (const QueryBlock& block : blocks) {
    const std::int64_t first = block.begin - blocks[0].begin, rows = block.end - block.begin;
    // Query heads of a KV head become rows of one product, so keys and values are never repeated.
    const auto grouped = [&](const at::Tensor& x_BHND) {
      return x_BHND.narrow(2, first, rows).reshape({batch, kv_heads, group * rows, width});
    };
    const at::Tensor q = grouped(all_q), d_out = grouped(all_d_out);
    const at::Tensor k = strip(all_k, block), v = strip(all_v, block);
    at::Tensor scores = at::matmul(q, k.transpose(-1, -2));
    scores.view({batch, kv_heads, group, rows, -1})
        .masked_fill_(block.hidden_NM, -std::numeric_limits<double>::infinity());
    at::Tensor lse = at::logsumexp(scores, -1, /*keepdim=*/true);
    if (sink_11G1.defined()) {
      const at::Tensor by_head = lse.view({batch, kv_heads, group, rows});
      lse = at::logaddexp(by_head, sink_11G1).view_as(lse);
    }
    const at::Tensor p = scores.sub_(lse).exp_();
    add_strip(sum.v_BGMD, at::matmul(p.transpose(-1, -2), d_out), block);
    at::Tensor d_scores = at::matmul(d_out, v.transpose(-1, -2));
    const at::Tensor inner = (d_scores * p).sum(-1, /*keepdim=*/true);
    if (sum.sink_logits_H.defined()) {  // a column of the softmax whose value is 0
      const at::Tensor p_sink = (sink_11G1 - lse.view({batch, kv_heads, group, rows})).exp_();
      sum.sink_logits_H.sub_(
          (p_sink * inner.view_as(p_sink)).sum(at::IntArrayRef({0, 3})).flatten());
    }
    d_scores = d_scores.sub_(inner).mul_(p);
    const at::Tensor d_q = at::matmul(d_scores, k).view({batch, heads, rows, width});
    sum.q_BHND.narrow(2, first, rows).add_(d_q, scale);
    add_strip(sum.k_BGMD, at::matmul(d_scores.transpose(-1, -2), q), block);  // q has the scale
  }
}

}  // namespace strata
