// Which tensors an architecture consists of. Internal to models/checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/checkpoint/hf_config.h"

namespace strata {

struct ExpectedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

std::vector<ExpectedTensor> expected_tensors(const Architecture& architecture);  // sorted by name

// Tensors that may be in the files and are never read: old rotary buffers, and the tied head.
bool is_passed_over(const Architecture& architecture, std::string_view name);

}  // namespace strata
