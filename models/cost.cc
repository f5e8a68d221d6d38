#include "models/cost.h"

#include <algorithm>

#include "models/linear_cost.h"

namespace strata {
namespace {

// Σ_{i in [begin, end)} min(i + 1, cap)
double sum_of_capped(std::int64_t begin, std::int64_t end, std::int64_t cap) {
  const auto triangle = [](std::int64_t n) {
    return 0.5 * static_cast<double>(n) * static_cast<double>(n + 1);
  };
  const std::int64_t bend = std::clamp(cap, begin, end);  // rows below it see i + 1 keys
  return triangle(bend) - triangle(begin) +
         static_cast<double>(end - bend) * static_cast<double>(cap);
}

LinearParts parts_of(const ModelShape& shape, int layer, LinearKind kind) {
  const auto at = static_cast<std::size_t>(layer);
  return at < shape.branches.size() && shape.branches[at] ? *shape.branches[at]
                                                          : linear_parts(kind);
}

bool is_linear(const PaletteEntry& entry) {
  return std::holds_alternative<LinearAttention>(entry.mixer);
}

// The linear heads of a layer; `heads` = 0 where there are none. All cells of a layer are of one
// kind, or else of the kinds' own weights, which are not there: the first counts.
LinearSize linear_size(const AttentionPlan& plan, const ModelShape& shape, int layer) {
  const HeadLayout& layout = plan.layout();
  const int group = layout.query_heads / layout.kv_heads;
  LinearSize size{.parts = {}, .hidden = shape.hidden, .head_dim = shape.head_dim};
  for (int first = 0; first < layout.query_heads; first += group) {
    bool needs_kv = false;
    for (int head = first; head < first + group; ++head) {
      const auto* linear = std::get_if<LinearAttention>(&plan.entry(layer, head).mixer);
      if (linear == nullptr) continue;
      if (size.heads++ == 0) size.parts = parts_of(shape, layer, linear->kind);
      needs_kv = true;
    }
    size.kv_heads += needs_kv ? 1 : 0;
  }
  if (size.parts.expands_kv) size.kv_heads = size.heads;
  return size;
}

struct SoftmaxCount {
  int heads = 0;
  int kv_heads = 0;  // whose keys and values some of them read
};

SoftmaxCount softmax_heads(const AttentionPlan& plan, int layer) {
  const HeadLayout& layout = plan.layout();
  const int group = layout.query_heads / layout.kv_heads;
  SoftmaxCount count;
  for (int first = 0; first < layout.query_heads; first += group) {
    int here = 0;
    for (int head = first; head < first + group; ++head)
      here += is_linear(plan.entry(layer, head)) ? 0 : 1;
    count.heads += here;
    count.kv_heads += here > 0 ? 1 : 0;
  }
  return count;
}

// FLOPs of the weights of a layer, for each row that enters it and each that leaves it.
struct PerRow {
  double in = 0, out = 0;
};

PerRow weight_flops(const AttentionPlan& plan, const ModelShape& shape, int layer) {
  const double head = 2.0 * static_cast<double>(shape.hidden) * static_cast<double>(shape.head_dim);
  const SoftmaxCount softmax = softmax_heads(plan, layer);
  const LinearSize linear = linear_size(plan, shape, layer);
  return {.in = 2.0 * head * softmax.kv_heads + entering_flops(linear).total(),
          .out = 2.0 * head * softmax.heads + leaving_flops(linear).total() + mlp_flops(shape)};
}

double mixing_flops(const AttentionPlan& plan, const ModelShape& shape, int layer,
                    const LayerRows& rows, std::int64_t end, std::int64_t prompt_length) {
  const LinearSize linear = linear_size(plan, shape, layer);
  double flops = static_cast<double>(linear.heads) *
                 recurrence_flops(linear.parts, shape.head_dim, rows.in_begin, end, prompt_length);
  for (int head = 0; head < shape.heads.query_heads; ++head) {
    const PaletteEntry& entry = plan.entry(layer, head);
    if (!is_linear(entry))
      flops += visible_pairs(entry, rows.out_begin, end, prompt_length) * 2.0 * 2.0 *
               static_cast<double>(shape.head_dim);
  }
  return flops;
}

}  // namespace

double mlp_flops(const ModelShape& shape) {
  const double hidden = 2.0 * static_cast<double>(shape.hidden);
  const double mlp = 3.0 * hidden * static_cast<double>(shape.intermediate);
  if (shape.experts == 0) return mlp;
  return hidden * static_cast<double>(shape.experts) +  // the router
         static_cast<double>(shape.experts_per_token) * mlp;
}

Flops& Flops::operator+=(const Flops& other) {
  linear += other.linear;
  attention += other.attention;
  lm_head += other.lm_head;
  return *this;
}

RowFlops row_flops(const ModelShape& shape) {
  const double hidden = 2.0 * static_cast<double>(shape.hidden);
  const double q = hidden * shape.heads.query_heads * static_cast<double>(shape.head_dim);
  const double kv = hidden * 2.0 * shape.heads.kv_heads * static_cast<double>(shape.head_dim);
  return {q, kv, q + mlp_flops(shape)};
}

double visible_pairs(const PaletteEntry& entry, std::int64_t begin, std::int64_t end,
                     std::int64_t prompt_length) {
  const SlidingWindow* sliding = window_of(entry.mixer);
  if (sliding == nullptr) return sum_of_capped(begin, end, end);
  const std::int64_t windowed_end =
      entry.rule == DecodeRule::kFull ? std::clamp(prompt_length, begin, end) : end;
  return sum_of_capped(begin, windowed_end, sliding->window + sliding->sinks) +
         sum_of_capped(windowed_end, end, end);
}

Flops prefill_flops(const AttentionPlan& plan, const ModelShape& shape,
                    std::int64_t prompt_length) {
  const Chunk chunk{.begin = 0,
                    .end = prompt_length,
                    .prompt_length = prompt_length,
                    .first_read = 0,
                    .retain = true};
  Flops flops = run_cost(plan, shape, chunk, all_rows(plan, chunk), 0).flops;
  flops.lm_head = 2.0 * static_cast<double>(shape.hidden) * static_cast<double>(shape.vocabulary);
  return flops;
}

Flops decode_flops(const AttentionPlan& plan, const ModelShape& shape, std::int64_t prompt_length,
                   std::int64_t tokens) {
  if (tokens <= 1) return {};
  const Chunk chunk{.begin = prompt_length,
                    .end = prompt_length + tokens - 1,
                    .prompt_length = prompt_length,
                    .first_read = prompt_length,
                    .retain = true};
  return run_cost(plan, shape, chunk, all_rows(plan, chunk), 0).flops;
}

double forced_flops(const AttentionPlan& plan, const ModelShape& shape, std::int64_t prompt_length,
                    std::int64_t answer_length) {
  const Chunk chunk{.begin = 0,
                    .end = prompt_length + answer_length - 1,
                    .prompt_length = prompt_length,
                    .first_read = prompt_length - 1,
                    .retain = false};
  return run_cost(plan, shape, chunk, plan_rows(plan, chunk), 0).flops.total();
}

std::uint64_t state_bytes(const AttentionPlan& plan, const ModelShape& shape) {
  std::uint64_t bytes = 0;
  for (int layer = 0; layer < shape.heads.layers; ++layer)
    bytes += linear_state_bytes(linear_size(plan, shape, layer), shape.bytes_per_value);
  return bytes;
}

std::uint64_t kv_bytes(const AttentionPlan& plan, const ModelShape& shape, std::int64_t length) {
  std::uint64_t tokens = 0;  // summed over KV heads
  for (int layer = 0; layer < shape.heads.layers; ++layer)
    for (int kv_head = 0; kv_head < shape.heads.kv_heads; ++kv_head) {
      const AttentionPlan::Retention kept = plan.retention(layer, kv_head);
      tokens += static_cast<std::uint64_t>(kept.all ? length
                                                    : std::min(length, kept.sinks + kept.window));
    }
  return tokens * 2 * static_cast<std::uint64_t>(shape.head_dim * shape.bytes_per_value) +
         state_bytes(plan, shape);
}

RunCost run_cost(const AttentionPlan& plan, const ModelShape& shape, const Chunk& chunk,
                 const std::vector<LayerRows>& rows, int first_layer) {
  RunCost cost;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto in = static_cast<double>(chunk.end - rows[i].in_begin);
    const auto out = static_cast<double>(chunk.end - rows[i].out_begin);
    const int layer = first_layer + static_cast<int>(i);
    const PerRow weights = weight_flops(plan, shape, layer);
    cost.flops.linear += in * weights.in + out * weights.out;
    cost.flops.attention +=
        mixing_flops(plan, shape, layer, rows[i], chunk.end, chunk.prompt_length);
    cost.layer_tokens += out;
  }
  cost.flops.lm_head = static_cast<double>(chunk.end - chunk.first_read) * 2.0 *
                       static_cast<double>(shape.hidden) * static_cast<double>(shape.vocabulary);
  return cost;
}

}  // namespace strata
