#include "models/training/text_training.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "models/training/gate_training.h"

namespace strata {
double cosine_between(double rate, double last_rate, std::int64_t step, std::int64_t steps) {
  if (steps <= 1) return rate;
  const double part =
      static_cast<double>(std::min(step, steps - 1)) / static_cast<double>(steps - 1);
  return last_rate + 0.5 * (rate - last_rate) * (1 + std::cos(std::numbers::pi * part));
}

StepLoop text_steps(MeteredModel& model, std::span<const Tokens> texts,
                    const TextTraining& training, TextLearner& learner, const Progress& progress) {
  return {
      .title = training.title,
      .steps = training.steps,
      .checkpoint = training.checkpoint,
      .identity = training.identity,
      .seconds_between_checkpoints = training.seconds_between_checkpoints,
      .step = [&model, texts, &training, &learner,
               &progress](std::int64_t step) -> Result<nlohmann::json> {
        if (progress.stop_requested())
          return fail(ErrorKind::kInterrupted, "interrupted after {} of {} steps of {}", step,
                      training.steps, training.title);
        std::vector<std::span<const TokenId>> batch;
        for (const std::size_t i :
             samples_of_step(training.seed, texts.size(), training.batch, step))
          batch.emplace_back(texts[i]);
        return learner.step(batch, model);
      },
      .save_weights = [&learner](const std::filesystem::path& file) { return learner.save(file); },
      .state = {},
      .restore = [&learner](const TrainingState& state,
                            const std::filesystem::path& weights) -> Status {
        RETURN_IF_ERROR(learner.restore(weights));
        if (learner.steps() != state.next)
          return fail(ErrorKind::kInvalidFile, "expected weights of step {}, got those of {}",
                      state.next, learner.steps());
        return {};
      }};
}

Result<nlohmann::json> train_on_texts(MeteredModel& model, std::span<const Tokens> texts,
                                      const TextTraining& training, TextLearner& learner,
                                      Progress& progress) {
  STRATA_CHECK(training.batch >= 1 && training.steps >= 0);
  if (texts.empty())
    return fail(ErrorKind::kInvalidArgument, "expected texts to train on, got none");
  return run_steps(model, text_steps(model, texts, training, learner, progress), progress);
}

}  // namespace strata
