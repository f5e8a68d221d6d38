// How weights are trained by AdamW. Free of LibTorch.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace strata {

struct WeightOptions {
  double rate = 1e-4;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0;
  double clip = 1;  // the largest norm of a step's gradient over all weights; 0 = any
};

nlohmann::json to_json(const WeightOptions& options);

}  // namespace strata
