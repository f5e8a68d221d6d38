#include "models/row_plan.h"

#include <algorithm>
#include <limits>

#include "models/linear_parts.h"

namespace strata {
namespace {

// First input row of a layer that outputs [out_begin, end).
std::int64_t first_input_row(const AttentionPlan& plan, const Chunk& chunk, int layer,
                             std::int64_t out_begin) {
  std::int64_t first = out_begin;
  const HeadLayout& layout = plan.layout();
  for (int head = 0; head < layout.query_heads; ++head) {
    const PaletteEntry& entry = plan.entry(layer, head);
    // A state is written by every row; of later rows it is all that is kept.
    if (std::holds_alternative<LinearAttention>(entry.mixer) &&
        (out_begin < chunk.end || chunk.retain))
      return chunk.begin;
    const auto* sliding = std::get_if<SlidingWindow>(&entry.mixer);
    const bool sees_all =
        sliding == nullptr || (entry.rule == DecodeRule::kFull && chunk.end > chunk.prompt_length);
    if (out_begin < chunk.end) {
      if (sees_all) return chunk.begin;
      // Sinks inside this chunk are rows of their own: keep everything rather than a hole.
      if (sliding->sinks > chunk.begin) return chunk.begin;
      first = std::min(first, out_begin - sliding->window + 1);
    }
  }
  if (chunk.retain) {
    for (int kv_head = 0; kv_head < layout.kv_heads; ++kv_head) {
      const AttentionPlan::Retention kept = plan.retention(layer, kv_head);
      if (kept.all || kept.sinks > chunk.begin) return chunk.begin;
      first = std::min(first, chunk.end - kept.window);
    }
  }
  return std::max(first, chunk.begin);
}

}  // namespace

std::vector<LayerRows> plan_rows(const AttentionPlan& plan, const Chunk& chunk, int first_layer) {
  const int layers = plan.layout().layers;
  std::vector<LayerRows> rows(static_cast<std::size_t>(layers - first_layer));
  std::int64_t out_begin = chunk.first_read;
  for (int layer = layers - 1; layer >= first_layer; --layer) {
    const std::int64_t in_begin = first_input_row(plan, chunk, layer, out_begin);
    rows[static_cast<std::size_t>(layer - first_layer)] = {in_begin, out_begin};
    out_begin = in_begin;
  }
  return rows;
}

std::vector<LayerRows> all_rows(const AttentionPlan& plan, const Chunk& chunk, int first_layer) {
  std::vector<LayerRows> rows(static_cast<std::size_t>(plan.layout().layers - first_layer),
                              {chunk.begin, chunk.begin});
  rows.back().out_begin = chunk.first_read;
  return rows;
}

std::int64_t shared_prefix(const AttentionPlan& plan) {
  std::int64_t shared = std::numeric_limits<std::int64_t>::max();
  for (const PaletteEntry& entry : plan.palette()) {
    if (std::holds_alternative<LinearAttention>(entry.mixer)) return 0;
    if (const SlidingWindow* sliding = window_of(entry.mixer))
      shared = std::min(shared, sliding->window + sliding->sinks);
  }
  return shared;
}

std::int64_t first_cut(const AttentionPlan& plan) {
  std::int64_t cut = 0;
  bool sinks = false;
  for (const PaletteEntry& entry : plan.palette())
    if (const auto* sliding = std::get_if<SlidingWindow>(&entry.mixer)) {
      const std::int64_t seen = sliding->window + sliding->sinks;
      cut = cut == 0 ? seen : std::min(cut, seen);
      sinks |= sliding->sinks > 0;
    }
  return sinks ? cut : 0;
}

std::int64_t chunk_end(const AttentionPlan& plan, std::int64_t begin, std::int64_t at_most,
                       std::int64_t prompt_length) {
  const bool linear =
      std::any_of(plan.palette().begin(), plan.palette().end(), [](const PaletteEntry& entry) {
        return std::holds_alternative<LinearAttention>(entry.mixer);
      });
  // Behind window + sinks windowed layers may leave rows out wherever the cut is.
  std::int64_t cut = first_cut(plan);
  if (linear) cut = (cut + kLinearChunk - 1) / kLinearChunk * kLinearChunk;
  std::int64_t end = begin + at_most;
  if (begin < cut) end = std::min(end, cut);
  if (end >= prompt_length) return prompt_length;
  const std::int64_t aligned = end / kLinearChunk * kLinearChunk;
  return linear && aligned > begin ? aligned : end;
}

}  // namespace strata
