#include "strategies/learned.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/sha256.h"
#include "strategies/shared_scores.h"

namespace strata {

double rate_factor(RateShape shape, std::int64_t step, std::int64_t steps) {
  if (shape == RateShape::kConstant) return 1;
  if (shape == RateShape::kCosine) {
    const auto last = static_cast<double>(std::max<std::int64_t>(steps - 1, 1));
    return 0.55 + 0.45 * std::cos(std::numbers::pi * static_cast<double>(step) / last);
  }
  const double fifth = static_cast<double>(steps) / 5;
  const double up = std::max(static_cast<double>(step + 1) / fifth, 0.1);
  const double down = std::max(static_cast<double>(steps - step) / fifth, 0.1);
  return std::min({1.0, up, down});
}

bool is_late(std::int64_t step, std::int64_t steps) {
  return step >= steps - std::max<std::int64_t>(1, steps / 5);
}

std::vector<TrainingSample> training_samples(const CalibrationSet& set, LossTokens tokens) {
  std::vector<TrainingSample> samples;
  for (const Sample& sample : set.samples) {
    const auto length = static_cast<std::int64_t>(sample.prompt.size() + sample.answer.size());
    samples.push_back({.prompt = sample.prompt,
                       .answer = sample.answer,
                       .scored = tokens == LossTokens::kText ? length - 1 : 0});
  }
  return samples;
}

Result<nlohmann::json> learn(const SelectionRequest& request, SelectionContext& context,
                             const LearningTask& task, GateLearner& learner) {
  const std::vector<TrainingSample> samples = training_samples(*context.calibration, task.tokens);
  nlohmann::json identity = {{"method", task.method},
                             {"config", task.config},
                             {"numerics", kNumericsVersion},
                             {"for", scored_for(request, context)},
                             {"seed", request.seed}};
  if (task.weights != nullptr) identity["weights"] = to_json(task.weights->options());
  const GateTraining training{
      .attention = task.attention,
      .loss = task.loss,
      .alignment = task.alignment,
      .steps = task.learning.steps,
      .batch = task.learning.batch,
      .seed = request.seed,
      .limits = pass_limits(context.model->model(), task.learning.activation_mib),
      .checkpoint = context.checkpoint,
      .identity = sha256_hex(identity.dump()),
      .seconds_between_checkpoints = task.learning.checkpoint_seconds};
  if (task.weights != nullptr)
    return train_weights(*context.model, samples, training, *task.weights, learner,
                         *context.progress);
  return train_gates(*context.model, samples, training, learner, *context.progress);
}

PlainGates::PlainGates(std::size_t units, Options options)
    : options_(options), gates_(units, options.start), late_sums_(units, 0.0), adam_(units) {}

nlohmann::json PlainGates::update(std::int64_t step, std::span<const GatedGradient> passes) {
  const double weight =
      options_.regularisation / (options_.sum ? 1.0 : static_cast<double>(gates_.size()));
  std::vector<double> gradient(gates_.size(), weight);  // gates are not negative
  for (const GatedGradient& pass : passes)
    for (std::size_t u = 0; u < gates_.size(); ++u)
      gradient[u] += pass.gradient[u] / static_cast<double>(passes.size());
  adam_.step(gates_, gradient, options_.rate * rate_factor(options_.shape, step, options_.steps));
  const bool late = is_late(step, options_.steps);
  double sum = 0;
  for (std::size_t u = 0; u < gates_.size(); ++u) {
    if (late) late_sums_[u] += gates_[u];
    gates_[u] = std::clamp(gates_[u], 0.0, 1.0);
    sum += gates_[u];
  }
  if (late) ++late_steps_;
  return {{"mean_gate", sum / static_cast<double>(gates_.size())}};
}

nlohmann::json PlainGates::state() const {
  return {{"gates", gates_},
          {"late_sums", late_sums_},
          {"late_steps", late_steps_},
          {"adam", adam_.state()}};
}

Status PlainGates::restore(const nlohmann::json& state) {
  ASSIGN_OR_RETURN(gates_, numbers_of(state, "gates", gates_.size()));
  ASSIGN_OR_RETURN(late_sums_, numbers_of(state, "late_sums", late_sums_.size()));
  ASSIGN_OR_RETURN(late_steps_, count_of(state, "late_steps"));
  if (!state.contains("adam")) return fail(ErrorKind::kInvalidFile, "no \"adam\"");
  for (const double gate : gates_)
    if (gate < 0 || gate > 1)
      return fail(ErrorKind::kInvalidFile, "\"gates\": expected numbers from 0 to 1");
  return adam_.restore(state["adam"]);
}

std::vector<double> PlainGates::late_means() const {
  std::vector<double> means = late_sums_;
  for (double& mean : means) mean /= static_cast<double>(late_steps_);
  return means;
}

}  // namespace strata
