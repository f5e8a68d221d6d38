// A selection problem small enough for the dense oracle: a random model of 5 layers, 3 calibration
// samples, 2 units to keep.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "core/sha256.h"
#include "models/decoder/weights.h"
#include "strategies/registry.h"
#include "tests/unit/models/dense_oracle.h"

namespace strata::testing {

inline constexpr int kLayers = 5, kPrompt = 40, kAnswer = 4, kSamples = 3;
inline constexpr std::int64_t kWindow = 6, kSinks = 2;

class TinyProblem : public ::testing::Test {
 protected:
  TinyProblem() {
    Rng rng(3, "nll guided");
    architecture_ = tiny_architecture(kLayers, 4, 2);
    weights_ = random_weights(architecture_, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture_, weights_);
    for (int s = 0; s < kSamples; ++s) {
      Sample sample;
      for (int i = 0; i < kPrompt; ++i)
        sample.prompt.push_back(static_cast<TokenId>(rng.below(11)));
      for (int i = 0; i < kAnswer; ++i)
        sample.answer.push_back(static_cast<TokenId>(rng.below(11)));
      sample.id = sha256_hex(std::to_string(s));
      calibration_.samples.push_back(sample);
    }
    calibration_.id = content_id(calibration_.samples);
    request_.layout = model_->layout();
    request_.cheap = SlidingWindow{kWindow, kSinks};
    request_.budget.units = 2;
  }

  // What a strategy selects, and what that cost.
  Result<Selection> select(const std::vector<std::pair<std::string, config::Value>>& keys,
                           Meter* meter = nullptr, int workers = 1) {
    config::Map map;
    for (const auto& [key, value] : keys) map.set(key, value);
    MeteredModel metered(*model_, {}, workers);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    ASSIGN_OR_RETURN(const auto strategy, make_strategy(config::Value(map)));
    Result<Selection> selection = strategy->select(request_, context);
    if (meter != nullptr) *meter = metered.meter();
    return selection;
  }

  // NLL at each answer position.
  std::vector<double> oracle_nll(const Sample& sample, const Mask& mask) const {
    Tokens tokens = sample.prompt;
    tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
    const auto logits =
        oracle_logits(architecture_, weights_, tokens, *request_.plan(mask), kPrompt);
    std::vector<double> nll;
    for (std::size_t k = 0; k < kAnswer; ++k) {
      double total = 0;
      for (const double value : logits[kPrompt + k - 1]) total += std::exp(value);
      nll.push_back(std::log(total) -
                    logits[kPrompt + k - 1][static_cast<std::size_t>(sample.answer[k])]);
    }
    return nll;
  }

  // Mean answer NLL of a mask on a sample, and over all samples.
  double oracle_loss(const Sample& sample, const Mask& mask) const {
    double sum = 0;
    for (const double nll : oracle_nll(sample, mask)) sum += nll / kAnswer;
    return sum;
  }
  double oracle_loss(const Mask& mask) const {
    double sum = 0;
    for (const Sample& sample : calibration_.samples) sum += oracle_loss(sample, mask) / kSamples;
    return sum;
  }

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  CalibrationSet calibration_;
  SelectionRequest request_;
  SilentProgress progress_;
};

}  // namespace strata::testing
