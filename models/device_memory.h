// Memory of the device that a model lies on.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/model.h"

namespace strata {

// Bytes that are free there: of a GPU what its driver says and what this process holds without a
// tensor in it, of a CPU MemAvailable (the largest value where the system does not say).
std::uint64_t free_memory(const Model& model);

// What is free, at least `needed`; else kUnsupported: `what` ("training on 32 tokens") needs that
// much beside `beside` ("the weights"), with `hint`.
Result<std::uint64_t> check_memory(const Model& model, std::uint64_t needed, std::string_view what,
                                   std::string_view beside, std::string_view hint);
std::string readable_bytes(std::uint64_t bytes);

// The most bytes that tensors held at once since this was made, beyond those of that moment: on a
// GPU those of all threads, one of these at a time; on a CPU those that this thread made, one at a
// time on a thread. A CPU tensor that was there before has to outlive this.
class PeakMemory {
 public:
  explicit PeakMemory(const Model& model);
  ~PeakMemory();
  PeakMemory(const PeakMemory&) = delete;
  PeakMemory& operator=(const PeakMemory&) = delete;
  std::uint64_t bytes() const;

 private:
  class CpuCount;
  const Model& model_;
  std::uint64_t before_ = 0;
  std::unique_ptr<CpuCount> cpu_;
};

}  // namespace strata
