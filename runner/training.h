// `strata train`: the weights of a model trained under a strategy's mask, saved as a model of its
// own, so that every plan of a comparison is evaluated on equally trained weights: same text, order
// of texts and steps for every mask.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/result.h"
#include "core/sample.h"
#include "models/training/weight_training.h"
#include "runner/experiment.h"

namespace strata {

struct TrainingRequest {
  std::filesystem::path directory;             // where the model goes; nothing may lie there
  std::int64_t steps = 0;                      // under the mask, behind a strategy's own
  std::int64_t batch = 1;                      // calibration prompts a step
  std::optional<std::int64_t> activation_mib;  // as in pass_limits
  double checkpoint_seconds = 300;
  WeightOptions weights;
};

struct TrainedModel {
  std::string id;         // ModelId
  nlohmann::json origin;  // strata.json's transform
};

// Selects (a strategy that trains weights does so now, on the same copy of them), then trains on
// the calibration prompts, all positions. A training that was stopped goes on where its checkpoint,
// beside `directory`, is. Errors: those of both; a strategy that names its own mixers; no step at
// all.
Result<TrainedModel> train_model(const ExperimentConfig& config, const TrainingRequest& request,
                                 Workbench& workbench, Progress& progress);

// How the model in `directory` was trained by strata, where that was for this plan: what equally
// trained models have in common ("parent", "steps" of the strategy and under the mask, "batch",
// "text", "weights", "seed", the mixer) and the strategy's "label", "group" and "supervision". Else
// null.
// Errors: a strata.json that cannot be read.
Result<nlohmann::json> training_of(const std::filesystem::path& directory,
                                   const AttentionPlan& plan);

// None of the samples is a text that the model in `directory` was trained on by strata, nor holds a
// chat session that it was converted or trained on. Errors: one does; a strata.json that cannot be
// read.
Status check_not_trained_on(const std::filesystem::path& directory,
                            const std::vector<Sample>& samples);

}  // namespace strata
