// The loop of every training here: takes step after step, keeps the curve, and writes a checkpoint
// from which a killed or interrupted training goes on as if nothing had happened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "core/progress.h"
#include "models/model.h"
#include "models/training/training_checkpoint.h"

namespace strata {

struct StepLoop {
  std::string title;  // in the progress
  std::int64_t steps = 0;
  // Where the checkpoint lies (a JSON file and weights beside it), and whose it is: a file of
  // another identity is refused. Empty = none.
  std::filesystem::path checkpoint;
  std::string identity;
  double seconds_between_checkpoints = 300;

  // Takes a step and returns what the curve shows of it. kInterrupted ends the loop after a
  // checkpoint, any other error without one.
  std::function<Result<nlohmann::json>(std::int64_t step)> step;
  // What the steps to come depend on: in a file of weights (may be empty: none), and beside it (may
  // be empty: null).
  std::function<Status(const std::filesystem::path& weights)> save_weights;
  std::function<nlohmann::json()> state;
  std::function<Status(const TrainingState& state, const std::filesystem::path& weights)> restore;
};

// The curve: up to about 200 objects {"step", …what the step says}. `model` counts what is run,
// that of the steps before a checkpoint included; where there is a checkpoint path, a file lies
// there in the end. Errors: those of the step; a checkpoint that is damaged or another training's;
// kIo.
Result<nlohmann::json> run_steps(MeteredModel& model, const StepLoop& loop, Progress& progress);

}  // namespace strata
