// The loop that trains on texts of one length: draws them, has a learner take a step, keeps the
// curve, and writes a checkpoint from which a killed or interrupted training goes on as if nothing
// had happened. (Gates, which learn from prompts with answers, have gate_training.h.)
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "core/progress.h"
#include "core/tokens.h"
#include "models/model.h"
#include "models/training/step_loop.h"

namespace strata {

// What is trained, and how. Called on one thread.
class TextLearner {
 public:
  virtual ~TextLearner() = default;
  // One step on texts of one length. Returns what the curve shows of it.
  virtual Result<nlohmann::json> step(std::span<const std::span<const TokenId>> texts,
                                      MeteredModel& meter) = 0;
  virtual std::int64_t steps() const = 0;  // taken so far
  // Everything that the steps to come depend on, as safetensors. Errors: kIo; a file of another
  // training.
  virtual Status save(const std::filesystem::path& file) const = 0;
  virtual Status restore(const std::filesystem::path& file) = 0;
};

struct TextTraining {
  std::string title;  // in the progress
  std::int64_t steps = 0;
  std::int64_t batch = 1;
  std::uint64_t seed = 0;  // of the texts' order: each once an epoch, each epoch in a random order
  // Where the checkpoint lies (a JSON file and weights beside it), and whose it is: a file of
  // another identity is refused. Empty = none.
  std::filesystem::path checkpoint;
  std::string identity;
  double seconds_between_checkpoints = 300;
};

// From `rate` to `last_rate` by half a cosine: of step `step` of `steps`, counted from 0.
double cosine_between(double rate, double last_rate, std::int64_t step, std::int64_t steps);

// The loop's steps as train_on_texts takes them, for those who keep more of them than it does. What
// is given must outlive the loop.
StepLoop text_steps(MeteredModel& model, std::span<const Tokens> texts,
                    const TextTraining& training, TextLearner& learner, const Progress& progress);

// The curve: up to about 200 objects {"step", …what the learner says}. `model` counts what is run,
// that of the steps before a checkpoint included; where there is a checkpoint path, a file lies
// there in the end: the trained state. Errors: no texts; those of the learner; a checkpoint that is
// damaged or another training's; kInterrupted, after a checkpoint.
Result<nlohmann::json> train_on_texts(MeteredModel& model, std::span<const Tokens> texts,
                                      const TextTraining& training, TextLearner& learner,
                                      Progress& progress);

}  // namespace strata
