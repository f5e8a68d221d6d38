// Checkpoints of a training: a JSON file and, where there are any, weights beside it, from which a
// killed training goes on. The pair that is there is always whole: weights are written first, under
// the step's own name, and old ones are removed last.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "core/result.h"
#include "models/model.h"

namespace strata {

struct TrainingState {
  std::int64_t next = 0;  // step
  nlohmann::json curve = nlohmann::json::array();
  Meter cost;  // of the steps so far
  nlohmann::json learner;
};

// `save_weights`, which may be empty, writes the file it is given. Makes the folder. Errors: kIo.
Status write_checkpoint(
    const std::filesystem::path& checkpoint, const std::string& identity,
    const TrainingState& state,
    const std::function<Status(const std::filesystem::path& weights)>& save_weights);

// Hands what lies there to `take`, with the place of its weights; nothing where no file lies.
// Errors: kInvalidFile, with the hint to delete it: one that is damaged, is behind `steps`, or has
// another identity; what `take` says.
Status restore_checkpoint(const std::filesystem::path& checkpoint, const std::string& identity,
                          std::int64_t steps,
                          const std::function<Status(const TrainingState& state,
                                                     const std::filesystem::path& weights)>& take);

// The checkpoint and whatever is named behind it (CHECKPOINT.…): its weights, and checkpoints of
// the parts that it is made of.
void remove_checkpoint(const std::filesystem::path& checkpoint);
// Those of one folder, at least one, and the folder where it is empty then.
void remove_checkpoints(std::initializer_list<std::filesystem::path> checkpoints);

// Whether a training's curve has this step: about 200 of them, the first and the last among them.
bool is_on_curve(std::int64_t step, std::int64_t steps);

}  // namespace strata
