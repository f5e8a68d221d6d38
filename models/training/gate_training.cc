#include "models/training/gate_training.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/rng.h"
#include "models/decoder/decoder.h"
#include "models/device_memory.h"
#include "models/forward.h"
#include "models/training/step_loop.h"
#include "models/training/weight_gradients.h"
#include "models/training/weight_training.h"

namespace strata {
namespace {

// Steps of gates, and what of them outlives a step.
class Loop {
 public:
  Loop(MeteredModel& model, std::span<const TrainingSample> samples, const GateTraining& training,
       GateLearner& learner, Progress& progress)
      : model_(model),
        samples_(samples),
        training_(training),
        learner_(learner),
        progress_(progress) {}

  Result<nlohmann::json> run();

 private:
  Result<std::string> memory_plan() const;
  Result<nlohmann::json> take(std::int64_t step);
  Status teach(std::span<const std::size_t> drawn, std::span<GatedRequest> requests,
               std::vector<TeacherRows>& teachers);

  MeteredModel& model_;
  std::span<const TrainingSample> samples_;
  const GateTraining& training_;
  GateLearner& learner_;
  Progress& progress_;
  std::map<std::size_t, TeacherRows> teachers_;  // as many as fit a quarter of the memory
  std::uint64_t teacher_bytes_ = 0;
};

Result<std::string> Loop::memory_plan() const {
  std::int64_t rows = 0;
  for (const TrainingSample& sample : samples_)
    rows = std::max(rows, static_cast<std::int64_t>(sample.prompt.size() + sample.answer.size()));
  const auto workers =
      static_cast<std::uint64_t>(std::min<std::int64_t>(training_.batch, model_.workers()));
  const std::uint64_t least =
      workers * gated_pass_bytes(model_.model().shape(), rows, 0, 1, training_.attention.cheap);
  ASSIGN_OR_RETURN(
      const std::uint64_t there,
      check_memory(model_.model(), least, fmt::format("training on {} tokens", rows), "the weights",
                   "use shorter calibration prompts, fewer threads or a device with more memory"));
  return fmt::format("training {} ({} a pass of {} tokens, {} free)",
                     training_.weights != nullptr ? "weights" : "gates",
                     readable_bytes(least / workers), rows, readable_bytes(there));
}

// Runs the unmasked model where its rows are not kept from an earlier step.
Status Loop::teach(std::span<const std::size_t> drawn, std::span<GatedRequest> requests,
                   std::vector<TeacherRows>& teachers) {
  teachers.resize(drawn.size());
  std::vector<std::size_t> missing;
  std::vector<GatedRequest> of_missing;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    requests[i].teacher = &teachers[i];
    const auto known = teachers_.find(drawn[i]);
    if (known != teachers_.end()) {
      teachers[i] = known->second;
    } else {
      missing.push_back(i);
      of_missing.push_back(requests[i]);
    }
  }
  ASSIGN_OR_RETURN(const std::vector<TeacherRows> rows,
                   teacher_rows(model_, of_missing, training_.limits, progress_));
  for (std::size_t m = 0; m < missing.size(); ++m) {
    const std::size_t i = missing[m];
    teachers[i] = rows[m];
    if (teacher_bytes_ + rows[m].bytes <= training_.limits.memory_bytes / 4 &&
        teachers_.emplace(drawn[i], rows[m]).second)
      teacher_bytes_ += rows[m].bytes;
  }
  return {};
}

Result<nlohmann::json> Loop::take(std::int64_t step) {
  const std::vector<std::size_t> drawn =
      samples_of_step(training_.seed, samples_.size(), training_.batch, step);
  WeightGradients* weights = nullptr;
  if (training_.weights != nullptr) {
    weights = &training_.weights->gradients();
    weights->clear();  // of a step that was interrupted
  }
  std::vector<std::vector<double>> gates;
  for (std::size_t pass = 0; pass < drawn.size(); ++pass)
    gates.push_back(learner_.gates(step, pass));
  std::vector<GatedRequest> requests;
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const TrainingSample& sample = samples_[drawn[i]];
    requests.push_back({.prompt = sample.prompt,
                        .answer = sample.answer,
                        .gates = gates[i],
                        .loss = training_.loss,
                        .scored = sample.scored,
                        .alignment = training_.alignment,
                        .weights = weights});
  }
  std::vector<TeacherRows> teachers;
  if (training_.loss != PassLoss::kNll) RETURN_IF_ERROR(teach(drawn, requests, teachers));
  ASSIGN_OR_RETURN(
      const std::vector<GatedGradient> passes,
      gate_gradients(model_, training_.attention, requests, training_.limits, progress_, {}));
  double loss = 0;
  for (const GatedGradient& pass : passes) loss += pass.loss / static_cast<double>(passes.size());
  nlohmann::json point = learner_.update(step, passes);
  if (weights != nullptr) {
    ASSIGN_OR_RETURN(point["gradient_norm"],
                     training_.weights->step(static_cast<std::int64_t>(passes.size())));
  }
  point["loss"] = loss;
  return point;
}

Result<nlohmann::json> Loop::run() {
  ASSIGN_OR_RETURN(const std::string title, memory_plan());
  WeightTrainer* const weights = training_.weights;
  StepLoop loop{
      .title = title,
      .steps = training_.steps,
      .checkpoint = training_.checkpoint,
      .identity = training_.identity,
      .seconds_between_checkpoints = training_.seconds_between_checkpoints,
      .step = [&](std::int64_t step) -> Result<nlohmann::json> {
        if (progress_.stop_requested())
          return fail(ErrorKind::kInterrupted, "stopped at step {}", step);
        return take(step);
      },
      .save_weights = {},
      .state = [&] { return learner_.state(); },
      .restore = [&](const TrainingState& state, const std::filesystem::path& file) -> Status {
        RETURN_IF_ERROR(learner_.restore(state.learner));
        return weights != nullptr ? weights->restore(file) : Status{};
      }};
  if (weights != nullptr)
    loop.save_weights = [&](const std::filesystem::path& file) { return weights->save(file); };
  return run_steps(model_, loop, progress_);
}

}  // namespace

std::vector<std::size_t> samples_of_step(std::uint64_t seed, std::size_t samples,
                                         std::int64_t batch, std::int64_t step) {
  std::vector<std::size_t> out, order;
  std::int64_t epoch = -1;
  for (std::int64_t i = step * batch; i < (step + 1) * batch; ++i) {
    const auto count = static_cast<std::int64_t>(samples);
    if (i / count != epoch) {
      epoch = i / count;
      Rng rng(seed, fmt::format("training epoch {}", epoch));
      order.resize(samples);
      std::iota(order.begin(), order.end(), std::size_t{0});
      rng.shuffle(order);
    }
    out.push_back(order[static_cast<std::size_t>(i % count)]);
  }
  return out;
}

Result<nlohmann::json> train_gates(MeteredModel& model, std::span<const TrainingSample> samples,
                                   const GateTraining& training, GateLearner& learner,
                                   Progress& progress) {
  STRATA_CHECK(!samples.empty() && training.batch >= 1);
  STRATA_CHECK(training.weights == nullptr ||
               (model.workers() == 1 && &model.model() == &training.weights->model()));
  return Loop(model, samples, training, learner, progress).run();
}

}  // namespace strata
