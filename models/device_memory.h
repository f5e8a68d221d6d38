// Memory of the device that a model lies on.
#pragma once

#include <cstdint>
#include <optional>

#include "models/model.h"

namespace strata {

// Bytes that are free there: of a GPU what its driver says, of a CPU MemAvailable (the largest
// value where the system does not say).
std::uint64_t free_memory(const Model& model);

// The most bytes that tensors held at once since this was made, beyond those of that moment. None
// on a CPU, where nobody counts. One of them at a time on a device.
class PeakMemory {
 public:
  explicit PeakMemory(const Model& model);
  std::optional<std::uint64_t> bytes() const;

 private:
  const Model& model_;
  std::uint64_t before_ = 0;
};

}  // namespace strata
