#include "models/cost.h"

#include <algorithm>

#include "models/linear_parts.h"

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

bool is_linear(const PaletteEntry& entry) {
  return std::holds_alternative<LinearAttention>(entry.mixer);
}

// KV heads whose keys and values some query head of softmax attention reads.
int softmax_kv_heads(const AttentionPlan& plan, int layer) {
  const HeadLayout& layout = plan.layout();
  const int group = layout.query_heads / layout.kv_heads;
  int count = 0;
  for (int first = 0; first < layout.query_heads; first += group)
    for (int head = first; head < first + group; ++head)
      if (!is_linear(plan.entry(layer, head))) {
        ++count;
        break;
      }
  return count;
}

// FLOPs of the weights of a layer, for each row that enters it and each that leaves it.
struct PerRow {
  double in = 0, out = 0;
};

PerRow weight_flops(const AttentionPlan& plan, const ModelShape& shape, int layer) {
  const auto c = static_cast<double>(shape.hidden), d = static_cast<double>(shape.head_dim);
  const double k_and_v = 2.0 * c * 2.0 * d;
  const RowFlops row = row_flops(shape);
  PerRow flops{.in = k_and_v * softmax_kv_heads(plan, layer), .out = row.q + row.o_mlp};
  bool decay_seen = false;
  for (int head = 0; head < shape.heads.query_heads; ++head) {
    const auto* linear = std::get_if<LinearAttention>(&plan.entry(layer, head).mixer);
    if (linear == nullptr) continue;
    const LinearParts branch = linear_parts(linear->kind);
    const auto rank = static_cast<double>(branch.decay_rank);
    const double conv = 2.0 * static_cast<double>(branch.conv_taps) * d;  // of one of q, k, v
    flops.in +=
        k_and_v + 2.0 * rank * d + 2.0 * c * static_cast<double>(branch.gate_scalars) + 2.0 * conv;
    flops.out += 2.0 * c * d + conv;  // the output gate; q's convolution
    if (branch.decay_rank > 0 && !decay_seen) flops.in += 2.0 * c * rank;  // heads share it
    decay_seen |= branch.decay_rank > 0;
  }
  return flops;
}

// Σ_{i in [begin, end)} (i mod kLinearChunk) + 1: what each row sees of its own chunk.
double pairs_in_chunks(std::int64_t begin, std::int64_t end) {
  const auto below = [](std::int64_t n) {
    const auto triangle = [](double m) { return 0.5 * m * (m + 1); };
    const std::int64_t chunks = n / kLinearChunk;
    return static_cast<double>(chunks) * triangle(static_cast<double>(kLinearChunk)) +
           triangle(static_cast<double>(n % kLinearChunk));
  };
  return below(end) - below(begin);
}

// Of one head: rows [rows.in_begin, end) are written to the state, rows [rows.out_begin, end) read.
double linear_mixing_flops(LinearKind kind, const ModelShape& shape, const LayerRows& rows,
                           std::int64_t end, std::int64_t prompt_length) {
  const auto d = static_cast<double>(shape.head_dim);
  const double product = 2.0 * d * d;  // of a row and the state
  const bool corrects = linear_parts(kind).corrects_its_state;
  double flops = 0;
  if (const std::int64_t stop = std::clamp(prompt_length, rows.in_begin, end);
      stop > rows.in_begin) {
    const auto count = static_cast<double>(stop - rows.in_begin);
    flops += count * product;
    // k·k of earlier rows, and the substitution of k and v.
    if (corrects)
      flops += count * product + (pairs_in_chunks(rows.in_begin, stop) - count) * 3.0 * 2.0 * d;
  }
  if (const std::int64_t stop = std::clamp(prompt_length, rows.out_begin, end);
      stop > rows.out_begin)
    flops += static_cast<double>(stop - rows.out_begin) * product +
             pairs_in_chunks(rows.out_begin, stop) * 2.0 * 2.0 * d;
  // Behind the prompt one row at a time: the state decays (one product a number), is corrected,
  // written and read.
  const auto behind = [&](std::int64_t begin) {
    return static_cast<double>(end - std::clamp(prompt_length, begin, end));
  };
  flops += behind(rows.in_begin) * (0.5 * product + (corrects ? 2.0 : 1.0) * product);
  return flops + behind(rows.out_begin) * product;
}

double mixing_flops(const AttentionPlan& plan, const ModelShape& shape, int layer,
                    const LayerRows& rows, std::int64_t end, std::int64_t prompt_length) {
  double flops = 0;
  for (int head = 0; head < shape.heads.query_heads; ++head) {
    const PaletteEntry& entry = plan.entry(layer, head);
    if (const auto* linear = std::get_if<LinearAttention>(&entry.mixer))
      flops += linear_mixing_flops(linear->kind, shape, rows, end, prompt_length);
    else
      flops += visible_pairs(entry, rows.out_begin, end, prompt_length) * 2.0 * 2.0 *
               static_cast<double>(shape.head_dim);
  }
  return flops;
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
  std::int64_t bytes = 0;
  for (int layer = 0; layer < shape.heads.layers; ++layer)
    for (int head = 0; head < shape.heads.query_heads; ++head) {
      const auto* linear = std::get_if<LinearAttention>(&plan.entry(layer, head).mixer);
      if (linear == nullptr) continue;
      bytes += shape.head_dim * shape.head_dim * std::max(shape.bytes_per_value, kLeastStateBytes);
      if (const std::int64_t taps = linear_parts(linear->kind).conv_taps; taps > 0)
        bytes += 3 * (taps - 1) * shape.head_dim * shape.bytes_per_value;
    }
  return static_cast<std::uint64_t>(bytes);
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
