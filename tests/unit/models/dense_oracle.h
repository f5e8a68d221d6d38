// The slow, obvious twin of the decoder: a transformer in float64, loops over every pair of
// positions, and its own statement of the visibility rule. Shares nothing with models/ but the
// weights it is given.
#pragma once

#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "core/plan.h"
#include "core/rng.h"
#include "core/tokens.h"
#include "models/checkpoint/hf_config.h"
#include "models/decoder/weights.h"
#include "models/mixers/linear_branch.h"

namespace strata::testing {

using Matrix = std::vector<std::vector<double>>;  // [rows][columns]

// Small random weights in `dtype`; every projection large enough that attention is far from
// uniform.
Architecture tiny_architecture(int layers, int query_heads, int kv_heads,
                               std::int64_t head_dim = 4);
Weights random_weights(const Architecture& architecture, Rng& rng, at::ScalarType dtype);

bool oracle_sees(const PaletteEntry& entry, std::int64_t query, std::int64_t key,
                 std::int64_t prompt_length);

// q and k of one layer after rotary embedding, [tokens][heads · head size].
struct OracleQk {
  Matrix q, k;
};

// Logits [tokens][vocabulary] of one sequence under a plan; `layers` (may be null) gets each
// layer's q and k. Linear heads run on `branches` (branch_oracle.h).
Matrix oracle_logits(const Architecture& architecture, const Weights& weights,
                     const std::vector<TokenId>& tokens, const AttentionPlan& plan,
                     std::int64_t prompt_length, std::vector<OracleQk>* layers = nullptr,
                     std::span<const LayerBranch> branches = {});

// Σ_{j in keys} exp(q·k_j/√D) / Σ_{j ≤ row} exp(q·k_j/√D) of one query head.
double oracle_mass(const Architecture& architecture, const OracleQk& layer, int head,
                   std::size_t row, const std::set<std::size_t>& keys);

// A random plan of any granularity, palette and decode rule.
AttentionPlan random_plan(const HeadLayout& layout, Rng& rng, std::int64_t max_window,
                          std::int64_t max_sinks);

}  // namespace strata::testing
