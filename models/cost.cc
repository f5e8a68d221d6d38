#include "models/cost.h"

#include <algorithm>

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

double attention_flops(const AttentionPlan& plan, const ModelShape& shape, int layer,
                       std::int64_t begin, std::int64_t end, std::int64_t prompt_length) {
  double pairs = 0;
  for (int head = 0; head < shape.heads.query_heads; ++head)
    pairs += visible_pairs(plan.entry(layer, head), begin, end, prompt_length);
  return pairs * 2.0 * 2.0 * static_cast<double>(shape.head_dim);
}

}  // namespace

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
  const double mlp = 3.0 * hidden * static_cast<double>(shape.intermediate);
  if (shape.experts == 0) return {q, kv, q + mlp};
  const double router = hidden * static_cast<double>(shape.experts);
  return {q, kv, q + router + static_cast<double>(shape.experts_per_token) * mlp};
}

double visible_pairs(const PaletteEntry& entry, std::int64_t begin, std::int64_t end,
                     std::int64_t prompt_length) {
  const auto* sliding = std::get_if<SlidingWindow>(&entry.mixer);
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

std::uint64_t kv_bytes(const AttentionPlan& plan, const ModelShape& shape, std::int64_t length) {
  std::uint64_t tokens = 0;  // summed over KV heads
  for (int layer = 0; layer < shape.heads.layers; ++layer)
    for (int kv_head = 0; kv_head < shape.heads.kv_heads; ++kv_head) {
      const AttentionPlan::Retention kept = plan.retention(layer, kv_head);
      tokens += static_cast<std::uint64_t>(kept.all ? length
                                                    : std::min(length, kept.sinks + kept.window));
    }
  return tokens * 2 * static_cast<std::uint64_t>(shape.head_dim * shape.bytes_per_value);
}

RunCost run_cost(const AttentionPlan& plan, const ModelShape& shape, const Chunk& chunk,
                 const std::vector<LayerRows>& rows, int first_layer) {
  RunCost cost;
  const RowFlops row = row_flops(shape);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto in = static_cast<double>(chunk.end - rows[i].in_begin);
    const auto out = static_cast<double>(chunk.end - rows[i].out_begin);
    cost.flops.linear += in * row.kv + out * (row.q + row.o_mlp);
    cost.flops.attention += attention_flops(plan, shape, first_layer + static_cast<int>(i),
                                            rows[i].out_begin, chunk.end, chunk.prompt_length);
    cost.layer_tokens += out;
  }
  cost.flops.lm_head = static_cast<double>(chunk.end - chunk.first_read) * 2.0 *
                       static_cast<double>(shape.hidden) * static_cast<double>(shape.vocabulary);
  return cost;
}

}  // namespace strata
