// What heads of linear attention cost (docs/cost.md): the one statement that plans (models/cost.h),
// branches and their training share. Pure functions of plain values; thread-safe.
//
// One multiply-add = 2 FLOPs; norms, rotary embedding and activations are not counted.
#pragma once

#include <cstdint>

#include "models/linear_parts.h"

namespace strata {

// Linear heads of one layer; kv_heads: for how many there are keys and values.
struct LinearSize {
  LinearParts parts;
  std::int64_t hidden = 0, head_dim = 0;
  std::int64_t heads = 0, kv_heads = 0;
};

struct BranchFlops {
  double from_input = 0;  // products of weights with the layer's input
  double behind = 0;      // all else
  double total() const { return from_input + behind; }
};

// Weights (and convolutions), for a row that enters the layer: q, k, v and decays. Of q too: the
// recurrences read in every row.
BranchFlops entering_flops(const LinearSize& size);
// And besides for a row that leaves it: the output gate, and o.
BranchFlops leaving_flops(const LinearSize& size);

// The recurrence of one head over rows [begin, end): those below prompt_length in chunks that begin
// at multiples of kLinearChunk, those behind it one by one.
double recurrence_flops(const LinearParts& parts, std::int64_t head_dim, std::int64_t begin,
                        std::int64_t end, std::int64_t prompt_length);

// What they keep of one sequence, at any length: states, and the last inputs of their convolutions.
std::uint64_t linear_state_bytes(const LinearSize& size, std::int64_t bytes_per_value);

}  // namespace strata
