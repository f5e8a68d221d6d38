#include "models/training/gate_training.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>

#include "core/atomic_file.h"
#include "core/json_reader.h"
#include "core/rng.h"
#include "models/checkpoint/json_fields.h"
#include "models/decoder/decoder.h"
#include "models/device_memory.h"
#include "models/forward.h"
#include "models/meter_json.h"
#include "models/training/adam.h"
#include "models/training/weight_gradients.h"
#include "models/training/weight_training.h"

namespace strata {
namespace {

std::string readable(std::uint64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(1 << 30));
}

// Where the weights of a checkpoint lie that goes on at step `next`.
std::filesystem::path weights_file(const std::filesystem::path& checkpoint, std::int64_t next) {
  std::filesystem::path file = checkpoint;
  return file += fmt::format(".{}.safetensors", next);
}

// All of a checkpoint's files of weights but this one.
void remove_weights(const std::filesystem::path& checkpoint, const std::filesystem::path& except) {
  std::error_code code;
  const std::filesystem::path folder =
      checkpoint.has_parent_path() ? checkpoint.parent_path() : std::filesystem::path(".");
  const std::string prefix = checkpoint.filename().string() + ".";
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(folder, code)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.find(".safetensors") != std::string::npos &&
        name != except.filename())
      old.push_back(entry.path());
  }
  for (const std::filesystem::path& file : old) std::filesystem::remove(file, code);
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
  const nlohmann::json file = {{"format", "strata-training-1"},
                               {"identity", training_.identity},
                               {"next", next_},
                               {"curve", curve_},
                               {"meter", to_json(model_.meter() - before_)},
                               {"learner", learner_.state()}};
  std::error_code exists;
  std::filesystem::create_directories(training_.checkpoint.parent_path(), exists);
  // Weights first: the checkpoint that is there always has its own.
  const std::filesystem::path weights = weights_file(training_.checkpoint, next_);
  if (training_.weights != nullptr) RETURN_IF_ERROR(training_.weights->save(weights));
  RETURN_IF_ERROR(write_atomically(training_.checkpoint, file.dump()));
  if (training_.weights != nullptr) remove_weights(training_.checkpoint, weights);
  return {};
}

Status Loop::restore() {
  if (training_.checkpoint.empty() || !std::filesystem::exists(training_.checkpoint)) return {};
  const auto unusable = [&](const Error& why) {
    return fail(
        make_error(ErrorKind::kInvalidFile, "not a checkpoint of this training: {}", why.message)
            .at(training_.checkpoint.string())
            .with_hint("delete it to train from the first step"));
  };
  const auto read = [&]() -> Status {
    constexpr std::uint64_t kLargest = std::uint64_t{256} << 20;
    ASSIGN_OR_RETURN(const std::string text,
                     json_fields::read_text(training_.checkpoint, kLargest));
    ASSIGN_OR_RETURN(const nlohmann::json file, parse_json(text));
    for (const char* key : {"format", "identity", "next", "curve", "meter", "learner"})
      if (!file.is_object() || !file.contains(key))
        return fail(ErrorKind::kInvalidFile, "no \"{}\"", key);
    if (file["format"] != "strata-training-1" || file["identity"] != training_.identity)
      return fail(ErrorKind::kInvalidFile, "it is of another configuration, model or data");
    const Result<std::int64_t> next = count_of(file, "next");
    if (!next || *next > training_.steps || !file["curve"].is_array())
      return fail(ErrorKind::kInvalidFile, "\"next\": expected a step of this training");
    ASSIGN_OR_RETURN(const Meter cost, meter_from_json(file["meter"]));
    RETURN_IF_ERROR(learner_.restore(file["learner"]));
    next_ = *next;
    if (training_.weights != nullptr)
      RETURN_IF_ERROR(training_.weights->restore(weights_file(training_.checkpoint, next_)));
    curve_ = file["curve"];
    model_.absorb(cost);
    return {};
  };
  const Status status = read();
  return status ? status : unusable(status.error());
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

bool is_on_curve(std::int64_t step, std::int64_t steps) {
  constexpr std::int64_t kPoints = 200;
  const std::int64_t stride = (steps + kPoints - 1) / kPoints;
  return step % stride == 0 || step + 1 == steps;
}

void remove_checkpoint(const std::filesystem::path& checkpoint) {
  std::error_code gone;
  std::filesystem::remove(checkpoint, gone);
  remove_weights(checkpoint, {});
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
