// Which rows of a chunk each layer really has to compute: no work for positions that nobody reads.
//
// A layer must output the rows that the next layer reads as input; it reads as input the rows whose
// keys and values some needed query (of this chunk, or of later tokens) can still see. With
// windowed layers on top, that is a suffix that shrinks towards the top. Pure functions of plan and
// lengths; used by the decoder (what it runs) and by cost (what running it costs), so the two
// cannot disagree.
#pragma once

#include <cstdint>
#include <vector>

#include "core/plan.h"

namespace strata {

struct Chunk {
  std::int64_t begin = 0;          // absolute position of the first row
  std::int64_t end = 0;            // one past the last
  std::int64_t prompt_length = 0;  // P of the visibility rule
  std::int64_t first_read = 0;     // first row whose output is read above the top layer; end = none
  bool retain = true;              // later tokens will attend to this chunk's keys
};

// Rows [in_begin, end) enter a layer (their keys and values are computed); rows [out_begin, end)
// leave it.
struct LayerRows {
  std::int64_t in_begin = 0;
  std::int64_t out_begin = 0;
  bool operator==(const LayerRows&) const = default;
};

// Entry i is layer first_layer + i; the last is the model's top layer.
std::vector<LayerRows> plan_rows(const AttentionPlan& plan, const Chunk& chunk,
                                 int first_layer = 0);

// Every row in every layer, but for the top layer, which outputs from first_read on.
std::vector<LayerRows> all_rows(const AttentionPlan& plan, const Chunk& chunk, int first_layer = 0);

// Positions below this are computed alike under every one of these plans: they see all earlier keys
// whatever the mask, since they lie below window + sinks. INT64_MAX for plans of full attention
// alone; 0 with linear attention, which differs from the first token on.
std::int64_t shared_prefix(const AttentionPlan& plan);

// Where a prompt is best cut first, 0 = nowhere: rows of a chunk are a suffix, so sinks in a chunk
// make every row behind them needed. Behind this cut windowed layers may leave rows out.
std::int64_t first_cut(const AttentionPlan& plan);

// Where the chunk of a prompt that begins at `begin` ends: at most `at_most` tokens on, and at the
// first cut. With linear attention at a multiple of kLinearChunk (models/linear_parts.h) where that
// leaves anything, so that what runs is what cost counts; what is computed does not depend on it.
std::int64_t chunk_end(const AttentionPlan& plan, std::int64_t begin, std::int64_t at_most,
                       std::int64_t prompt_length);

}  // namespace strata
