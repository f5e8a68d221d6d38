// The loop that learns gates: draws samples, runs passes, hands gradients to a learner, keeps the
// curve, and writes a checkpoint from which a killed or interrupted training goes on as if nothing
// had happened.
//
// Deterministic on the CPU for a seed, whatever the number of workers. Weights are frozen, unless
// weight_training.h has them learned along.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/tokens.h"
#include "models/training/gated_pass.h"

namespace strata {

struct TrainingSample {
  std::span<const TokenId> prompt, answer;
  std::int64_t scored = 0;  // as in GatedRequest
};

// What is learned, and how. Called on one thread.
class GateLearner {
 public:
  virtual ~GateLearner() = default;
  // Of one pass of a step, in [0, 1]; called for each pass of the step, in order, before update.
  virtual std::vector<double> gates(std::int64_t step, std::size_t pass) = 0;
  // Returns what the curve shows of the step, beside "step" and "loss".
  virtual nlohmann::json update(std::int64_t step, std::span<const GatedGradient> passes) = 0;
  // Everything that the steps to come depend on.
  virtual nlohmann::json state() const = 0;
  virtual Status restore(const nlohmann::json& state) = 0;
};

class WeightTrainer;  // models/training/weight_training.h

struct GateTraining {
  GatedAttention attention;
  PassLoss loss = PassLoss::kNll;
  Alignment alignment = {};
  std::int64_t steps = 0;
  std::int64_t batch = 1;  // passes a step, each of another sample
  std::uint64_t seed = 0;  // of the samples' order
  PassLimits limits;
  // Where the checkpoint lies, and whose it is: a file of another identity is refused. Empty =
  // none.
  std::filesystem::path checkpoint;
  std::string identity;
  double seconds_between_checkpoints = 10;
  WeightTrainer* weights = nullptr;  // takes a step in each step; the model trained is its own
};

// Which samples a step looks at: every sample once an epoch, each epoch in a random order.
std::vector<std::size_t> samples_of_step(std::uint64_t seed, std::size_t samples,
                                         std::int64_t batch, std::int64_t step);

// The curve: up to about 200 objects with "step" and "loss". Says in the progress how much memory a
// pass needs. Errors: kUnsupported with both figures where that cannot fit; those of the passes; a
// checkpoint that is damaged or another training's; kInterrupted, after a checkpoint.
Result<nlohmann::json> train_gates(MeteredModel& model, std::span<const TrainingSample> samples,
                                   const GateTraining& training, GateLearner& learner,
                                   Progress& progress);

}  // namespace strata
