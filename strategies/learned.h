// What selectors that train gates share: from a request and a config to a training of the
// calibration prompts, and a learner of plain gates.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

#include "models/training/adam.h"
#include "models/training/gate_training.h"
#include "models/training/weight_training.h"
#include "strategies/gate_gradients.h"
#include "strategies/learning_config.h"
#include "strategies/strategy.h"

namespace strata {

// `method` and its whole config identify the training's checkpoint.
struct LearningTask {
  std::string method;
  nlohmann::json config;
  LearningConfig learning;
  GatedAttention attention;
  PassLoss loss = PassLoss::kNll;
  LossTokens tokens = LossTokens::kAnswer;
  Alignment alignment = {};
  WeightTrainer* weights = nullptr;  // trained along, where given
};
// The prompts with their answers, as long as `set` lives.
std::vector<TrainingSample> training_samples(const CalibrationSet& set, LossTokens tokens);

Result<nlohmann::json> learn(const SelectionRequest& request, SelectionContext& context,
                             const LearningTask& task, GateLearner& learner);

double rate_factor(RateShape shape, std::int64_t step, std::int64_t steps);

// Of the steps that end values are averaged over: the last fifth, at least one.
bool is_late(std::int64_t step, std::int64_t steps);

// Gates themselves are learned, kept in [0, 1] after each step of AdamW, under
// loss + λ · (mean or sum of |gate|).
class PlainGates final : public GateLearner {
 public:
  struct Options {
    double start = 1;
    double rate = 0.02;
    RateShape shape = RateShape::kTrapezoid;
    std::int64_t steps = 0;
    double regularisation = 0;  // λ
    bool sum = false;           // of |gate|, else the mean
  };
  PlainGates(std::size_t units, Options options);

  std::vector<double> gates(std::int64_t, std::size_t) override { return gates_; }
  nlohmann::json update(std::int64_t step, std::span<const GatedGradient> passes) override;
  nlohmann::json state() const override;
  Status restore(const nlohmann::json& state) override;

  const std::vector<double>& final_gates() const { return gates_; }
  // Means of what each step left before it was clamped, over the last fifth of the steps: where
  // many gates end at 1, they still differ here.
  std::vector<double> late_means() const;

 private:
  Options options_;
  std::vector<double> gates_, late_sums_;
  std::int64_t late_steps_ = 0;
  Adam adam_;
};

}  // namespace strata
