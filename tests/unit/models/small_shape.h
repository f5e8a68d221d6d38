// A model small enough to count its costs by hand.
#pragma once

#include "models/shape.h"

namespace strata::testing {

// hidden 8, 2 query heads and 1 KV head of 4, MLP 16, vocabulary 10, 2 layers.
inline const ModelShape kShape{.heads = {.layers = 2, .query_heads = 2, .kv_heads = 1},
                               .hidden = 8,
                               .head_dim = 4,
                               .intermediate = 16,
                               .vocabulary = 10,
                               .max_positions = 256,
                               .bytes_per_value = 4};

}  // namespace strata::testing
