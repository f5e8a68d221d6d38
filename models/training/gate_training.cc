#include "models/training/gate_training.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "core/rng.h"
#include "models/decoder/decoder.h"
#include "models/device_memory.h"
#include "models/forward.h"
#include "models/training/training_checkpoint.h"
#include "models/training/weight_gradients.h"
#include "models/training/weight_training.h"

namespace strata {
namespace {

std::string readable(std::uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(1 << 30));
}

class Loop {
 public:
  Loop(MeteredModel& model, std::span<const TrainingSample> samples, const GateTraining& training,
       GateLearner& learner, Progress& progress)
      : model_(model),
        samples_(samples),
        training_(training),
        learner_(learner),
        progress_(progress),
        before_(model.meter()) {}

  Result<nlohmann::json> run();

 private:
  Result<std::string> memory_plan() const;
  Status step(std::int64_t step);
  Status restore();
  Status save();
  Status teach(std::span<const std::size_t> drawn, std::span<GatedRequest> requests,
               std::vector<TeacherRows>& teachers);

  MeteredModel& model_;
  std::span<const TrainingSample> samples_;
  const GateTraining& training_;
  GateLearner& learner_;
  Progress& progress_;
  Meter before_;
  std::int64_t next_ = 0;  // step
  nlohmann::json curve_ = nlohmann::json::array();
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
  const std::uint64_t there = free_memory(model_.model());
  if (least > there)
    return fail(make_error(ErrorKind::kUnsupported,
                           "training on {} tokens needs about {} beside the weights; {} are free",
                           rows, readable(least), readable(there))
                    .with_hint("use shorter calibration prompts, fewer threads or a device with "
                               "more memory"));
  return fmt::format("training {} ({} a pass of {} tokens, {} free)",
                     training_.weights != nullptr ? "weights" : "gates", readable(least / workers),
                     rows, readable(there));
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

Status Loop::step(std::int64_t step) {
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
  if (is_on_curve(step, training_.steps)) {
    point["step"] = step;
    point["loss"] = loss;
    curve_.push_back(std::move(point));
  }
  return {};
}

Status Loop::save() {
  if (training_.checkpoint.empty()) return {};
  std::function<Status(const std::filesystem::path&)> save_weights;
  if (training_.weights != nullptr)
    save_weights = [&](const std::filesystem::path& file) { return training_.weights->save(file); };
  return write_checkpoint(training_.checkpoint, training_.identity,
                          {next_, curve_, model_.meter() - before_, learner_.state()},
                          save_weights);
}

Status Loop::restore() {
  if (training_.checkpoint.empty()) return {};
  return restore_checkpoint(
      training_.checkpoint, training_.identity, training_.steps,
      [&](const TrainingState& state, const std::filesystem::path& weights) -> Status {
        RETURN_IF_ERROR(learner_.restore(state.learner));
        if (training_.weights != nullptr) RETURN_IF_ERROR(training_.weights->restore(weights));
        next_ = state.next;
        curve_ = state.curve;
        model_.absorb(state.cost);
        return {};
      });
}

Result<nlohmann::json> Loop::run() {
  ASSIGN_OR_RETURN(const std::string title, memory_plan());
  RETURN_IF_ERROR(restore());
  progress_.begin(title, training_.steps);
  progress_.advance(next_);
  auto saved = std::chrono::steady_clock::now();
  Status status;
  while (next_ < training_.steps) {
    status = progress_.stop_requested()
                 ? Status(fail(ErrorKind::kInterrupted, "stopped at step {}", next_))
                 : step(next_);
    if (!status) break;
    ++next_;
    progress_.advance(1);
    const auto now = std::chrono::steady_clock::now();
    if (std::chrono::duration<double>(now - saved).count() < training_.seconds_between_checkpoints)
      continue;
    status = save();
    if (!status) break;
    saved = now;
  }
  progress_.end();
  if (status || status.error().kind == ErrorKind::kInterrupted) RETURN_IF_ERROR(save());
  RETURN_IF_ERROR(status);
  return curve_;
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
