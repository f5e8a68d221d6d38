// AdamW (Loshchilov and Hutter, 2019) over a few numbers in float64: gates, masks, multipliers.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"

namespace strata {

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
};

class Adam {
 public:
  explicit Adam(std::size_t size, AdamOptions options = {})
      : options_(options), mean_(size, 0.0), square_(size, 0.0) {}

  // Descends; a negative rate ascends.
  void step(std::span<double> values, std::span<const double> gradient, double rate);

  nlohmann::json state() const;
  Status restore(const nlohmann::json& state);  // of an Adam of the same size

 private:
  AdamOptions options_;
  std::vector<double> mean_, square_;
  std::int64_t steps_ = 0;
};

// Out of a state: a number of things that were done; a list of `size` finite numbers.
Result<std::int64_t> count_of(const nlohmann::json& state, const char* key);
Result<std::vector<double>> numbers_of(const nlohmann::json& state, const char* key,
                                       std::size_t size);

}  // namespace strata
