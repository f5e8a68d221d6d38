// Attention mass: the share of a query's softmax that falls on given keys, under full attention,
// seen in one forward run of a prompt.
//
// mass = Σ_{j in keys} exp(q·k_j/√D) / Σ_{j ≤ row} exp(q·k_j/√D), in float64 from the q and k that
// attention gets. A layer's q and k are dropped before the next one runs; memory is queries ×
// tokens, never tokens². Metered: one forward run without the LM head, and the products. Layout as
// in core/mask.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/mask.h"
#include "core/result.h"
#include "core/tokens.h"
#include "models/model.h"

namespace strata {

struct KeyRange {
  std::int64_t begin = 0, end = 0;  // positions [begin, end)
};

// A key behind the row has no place in the softmax: it counts in the numerator alone, so that the
// mass can exceed 1.
struct MassQuery {
  std::int64_t row = 0;
  std::vector<KeyRange> keys;  // may overlap: a key counts once
};

enum class HeadReduction { kMean, kMax };

struct AttentionMass {
  HeadLayout layout;
  std::size_t queries = 0;
  std::vector<double> mass;  // [layer][query head][query]

  double at(int layer, int head, std::size_t query) const {
    return mass[static_cast<std::size_t>(layer * layout.query_heads + head) * queries + query];
  }
  // Means over the queries, reduced over the query heads of each unit; in a mask's flat order.
  std::vector<double> of_units(Granularity granularity, HeadReduction reduction) const;
};

// Queries by rising row. Errors: as MeteredModel::score; a row or key beyond the tokens; a model
// with sink logits.
Result<AttentionMass> attention_mass(MeteredModel& model, std::span<const TokenId> tokens,
                                     std::span<const MassQuery> queries);

}  // namespace strata
