// ModelShape: the sizes that cost depends on. A plain value, no weights.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/mask.h"
#include "models/linear_parts.h"

namespace strata {

struct ModelShape {
  HeadLayout heads;
  std::int64_t hidden = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate = 0;  // of one expert, where there are any
  std::int64_t experts = 0;       // 0 = one MLP for all tokens
  std::int64_t experts_per_token = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_positions = 0;
  std::int64_t bytes_per_value = 4;  // of activations and the KV cache
  // [layer]: of its linear branch. Where there is none (or no such layer): a kind's defaults.
  std::vector<std::optional<LinearParts>> branches = {};
};

}  // namespace strata
