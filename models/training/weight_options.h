// How weights are trained by AdamW. Free of LibTorch.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "core/config/fields.h"

namespace strata {

struct WeightOptions {
  double rate = 1e-4;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0;
  double clip = 1;  // the largest norm of a step's gradient over all weights; 0 = any
};

nlohmann::json to_json(const WeightOptions& options);

// Keys of AdamW that trainings on texts have in common, and what it is given.
template <typename Training, typename Visitor>
void visit_adamw(Training& training, Visitor& visit) {
  visit("beta1", training.beta1, "AdamW's (inferred)", config::between(0, 1 - 1e-6));
  visit("beta2", training.beta2, "AdamW's (inferred)", config::between(0, 1 - 1e-9));
  visit("epsilon", training.epsilon, "AdamW's (inferred)", config::above(0));
  visit("weight_decay", training.weight_decay, "AdamW's (inferred)", config::at_least(0));
}

template <typename Training>
WeightOptions adamw_options(const Training& training) {
  return {.rate = training.rate,
          .beta1 = training.beta1,
          .beta2 = training.beta2,
          .epsilon = training.epsilon,
          .weight_decay = training.weight_decay,
          .clip = training.clip};
}

}  // namespace strata
