// The keys of a short training, as configurations have them.
#pragma once

#include <cstdint>

#include "core/config/value.h"

namespace strata::testing {

inline config::Value training(std::int64_t steps, std::int64_t batch) {
  config::Map keys;
  keys.set("steps", steps);
  keys.set("batch", batch);
  return config::Value(keys);
}

}  // namespace strata::testing
