// Training of all weights of a model with AdamW (Loshchilov and Hutter, 2019), under gates that are
// fixed or learned along with them: ConSA (arXiv 2606.18056) and the equally trained controls that
// it is compared with.
//
// Weights and moments are in float32 (float64 for models in float64), whatever the model computes
// in; the parent, whose weights are views of a file, stays as it is. Deterministic on the CPU for a
// seed and a number of threads; one thread's.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "models/training/gate_training.h"
#include "models/training/weight_options.h"

namespace strata {

class WeightTrainer {
 public:
  // Copies the parent's weights; the parent must outlive it.
  WeightTrainer(const Model& parent, WeightOptions options);
  ~WeightTrainer();

  const Model& model() const;    // computes with the weights as they are now
  WeightGradients& gradients();  // which step() uses up
  const WeightOptions& options() const;
  std::int64_t steps() const;  // taken so far
  // One step by gradients() / passes. Returns their norm before clipping. Errors: one that is not
  // finite.
  Result<double> step(std::int64_t passes);

  // Weights, moments and the count of steps, as safetensors. Errors: kIo; a file of another model.
  Status save(const std::filesystem::path& file) const;
  Status restore(const std::filesystem::path& file);

  // The model as a directory (models/convert/save_model.h); the parent was loaded from one. Returns
  // the new ModelId.
  Result<std::string> save_model(const nlohmann::json& transform,
                                 const std::filesystem::path& directory) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Gates that stay as they are: training under a mask.
class FixedGates final : public GateLearner {
 public:
  explicit FixedGates(const Mask& mask);
  std::vector<double> gates(std::int64_t, std::size_t) override { return gates_; }
  nlohmann::json update(std::int64_t, std::span<const GatedGradient>) override {
    return nlohmann::json::object();
  }
  nlohmann::json state() const override { return nullptr; }
  Status restore(const nlohmann::json&) override { return {}; }

 private:
  std::vector<double> gates_;
};

// train_gates on trainer.model(), with a step of the trainer in each step; its curve has
// "gradient_norm" too. Passes of a step run one after the other, each on all of `model`'s threads
// (several prompts a pass where the limits allow). The loss is kNll. What it costs is added to
// `model`'s meter. Errors: those of train_gates; check_weight_training's.
Result<nlohmann::json> train_weights(MeteredModel& model, std::span<const TrainingSample> samples,
                                     GateTraining training, WeightTrainer& trainer,
                                     GateLearner& learner, Progress& progress);

}  // namespace strata
