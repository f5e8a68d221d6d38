#include "models/training/text_training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "models/training/gate_training.h"
#include "models/training/training_checkpoint.h"

namespace strata {
namespace {

class Loop {
 public:
  Loop(MeteredModel& model, std::span<const Tokens> texts, const TextTraining& training,
       TextLearner& learner, Progress& progress)
      : model_(model),
        texts_(texts),
        training_(training),
        learner_(learner),
        progress_(progress),
        before_(model.meter()) {}

  Result<nlohmann::json> run();

 private:
  Status step();
  Status restore();
  Status save() const;

  MeteredModel& model_;
  std::span<const Tokens> texts_;
  const TextTraining& training_;
  TextLearner& learner_;
  Progress& progress_;
  Meter before_;
  std::int64_t next_ = 0;  // step
  nlohmann::json curve_ = nlohmann::json::array();
};

Status Loop::step() {
  std::vector<std::span<const TokenId>> batch;
  for (const std::size_t i : samples_of_step(training_.seed, texts_.size(), training_.batch, next_))
    batch.emplace_back(texts_[i]);
  ASSIGN_OR_RETURN(nlohmann::json point, learner_.step(batch, model_));
  if (is_on_curve(next_, training_.steps)) {
    point["step"] = next_;
    curve_.push_back(std::move(point));
  }
  ++next_;
  return {};
}

Status Loop::save() const {
  if (training_.checkpoint.empty()) return {};
  return write_checkpoint(training_.checkpoint, training_.identity,
                          {next_, curve_, model_.meter() - before_, nullptr},
                          [&](const std::filesystem::path& file) { return learner_.save(file); });
}

Status Loop::restore() {
  if (training_.checkpoint.empty()) return {};
  return restore_checkpoint(
      training_.checkpoint, training_.identity, training_.steps,
      [&](const TrainingState& state, const std::filesystem::path& weights) -> Status {
        RETURN_IF_ERROR(learner_.restore(weights));
        if (learner_.steps() != state.next)
          return fail(ErrorKind::kInvalidFile, "expected weights of step {}, got those of {}",
                      state.next, learner_.steps());
        next_ = state.next;
        curve_ = state.curve;
        model_.absorb(state.cost);
        return {};
      });
}

Result<nlohmann::json> Loop::run() {
  RETURN_IF_ERROR(restore());
  const std::int64_t found = next_;
  progress_.begin(training_.title, training_.steps);
  progress_.advance(next_);
  auto saved = std::chrono::steady_clock::now();
  Status status;
  while (next_ < training_.steps) {
    status = progress_.stop_requested()
                 ? Status(fail(ErrorKind::kInterrupted, "interrupted after {} of {} steps of {}",
                               next_, training_.steps, training_.title))
                 : step();
    if (!status) break;
    progress_.advance(1);
    const auto now = std::chrono::steady_clock::now();
    if (std::chrono::duration<double>(now - saved).count() < training_.seconds_between_checkpoints)
      continue;
    status = save();
    if (!status) break;
    saved = now;
  }
  progress_.end();
  const bool well = status || status.error().kind == ErrorKind::kInterrupted;
  if (well && next_ > found) RETURN_IF_ERROR(save());
  RETURN_IF_ERROR(status);
  return curve_;
}

}  // namespace

double cosine_between(double rate, double last_rate, std::int64_t step, std::int64_t steps) {
  if (steps <= 1) return rate;
  const double part =
      static_cast<double>(std::min(step, steps - 1)) / static_cast<double>(steps - 1);
  return last_rate + 0.5 * (rate - last_rate) * (1 + std::cos(std::numbers::pi * part));
}

Result<nlohmann::json> train_on_texts(MeteredModel& model, std::span<const Tokens> texts,
                                      const TextTraining& training, TextLearner& learner,
                                      Progress& progress) {
  STRATA_CHECK(training.batch >= 1 && training.steps >= 0);
  if (texts.empty())
    return fail(ErrorKind::kInvalidArgument, "expected texts to train on, got none");
  return Loop(model, texts, training, learner, progress).run();
}

}  // namespace strata
