// ModelShape: the sizes that cost depends on. A plain value, no weights.
#pragma once

#include <cstdint>

#include "core/mask.h"

namespace strata {

struct ModelShape {
  HeadLayout heads;
  std::int64_t hidden = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_positions = 0;
  std::int64_t bytes_per_value = 4;  // of activations and the KV cache
};

}  // namespace strata
