// Cost of a plan: floating-point operations and KV-cache bytes, as pure functions of plan, shape
// and lengths.
//
// docs/cost.md defines every term. One multiply-add = 2 FLOPs. Counted: linear layers, attention
// products over visible (query, key) pairs, LM head of the rows that are read. Not counted: norms,
// rotary embedding, softmax, activations, embedding look-up (below 1 % for models of any size we
// run). Thread-safe.
#pragma once

#include <cstdint>

#include "core/plan.h"
#include "models/row_plan.h"
#include "models/shape.h"

namespace strata {

struct Flops {
  double linear = 0;     // q, k, v, o, MLP and a linear branch's gates; of experts those that run
  double attention = 0;  // q·k and weights·v over visible pairs; linear attention with its state
  double lm_head = 0;
  double total() const { return linear + attention + lm_head; }
  Flops& operator+=(const Flops& other);
};

// Linear layers of one row of a softmax layer.
struct RowFlops {
  double q = 0;
  double kv = 0;
  double o_mlp = 0;
};
RowFlops row_flops(const ModelShape& shape);
double mlp_flops(const ModelShape& shape);  // of one row; of experts those that run, and the router

// (query, key) pairs visible to queries [begin, end) of one query head of softmax attention
// (checked), by the rule of core/plan.h.
double visible_pairs(const PaletteEntry& entry, std::int64_t begin, std::int64_t end,
                     std::int64_t prompt_length);

// What a plan needs: all rows of the prompt in all layers, one LM-head row. Comparable between
// plans.
Flops prefill_flops(const AttentionPlan& plan, const ModelShape& shape, std::int64_t prompt_length);
// `tokens` generated after the prompt, each fed back but the last; an LM-head row for each but the
// first, which the prefill gave.
Flops decode_flops(const AttentionPlan& plan, const ModelShape& shape, std::int64_t prompt_length,
                   std::int64_t tokens);

// A teacher-forced answer after its prompt in one pass from the first layer, only the rows that are
// needed.
double forced_flops(const AttentionPlan& plan, const ModelShape& shape, std::int64_t prompt_length,
                    std::int64_t answer_length);

// What the linear-attention heads of one sequence keep in place of keys, at any length: their
// states, and the last inputs of their short convolutions.
std::uint64_t state_bytes(const AttentionPlan& plan, const ModelShape& shape);

// Bytes kept of one sequence of `length` tokens: the KV cache (under rule `same`, windowed KV heads
// keep min(length, sinks + window) tokens; a KV head keeps all if any of its query heads does, none
// if all of them are linear attention) and state_bytes.
std::uint64_t kv_bytes(const AttentionPlan& plan, const ModelShape& shape, std::int64_t length);

// What running a chunk costs when only the planned rows are computed (activation reuse starts at
// first_layer).
struct RunCost {
  Flops flops;
  double layer_tokens = 0;  // rows output, summed over layers
};
RunCost run_cost(const AttentionPlan& plan, const ModelShape& shape, const Chunk& chunk,
                 const std::vector<LayerRows>& rows, int first_layer);

}  // namespace strata
