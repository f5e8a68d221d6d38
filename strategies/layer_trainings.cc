#include "strategies/layer_trainings.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "models/meter_json.h"
#include "models/training/adam.h"
#include "models/training/training_checkpoint.h"

namespace strata {
namespace {

nlohmann::json json_of(const LayerOutcome& outcome) {
  return {{"losses", outcome.losses},
          {"held_out", outcome.held_out},
          {"trained", to_json(outcome.trained)}};
}

Result<LayerOutcome> outcome_from_json(const nlohmann::json& json, std::int64_t steps,
                                       std::size_t held_out) {
  LayerOutcome outcome;
  ASSIGN_OR_RETURN(outcome.losses, numbers_of(json, "losses", static_cast<std::size_t>(steps)));
  ASSIGN_OR_RETURN(outcome.held_out, numbers_of(json, "held_out", held_out));
  if (!json.contains("trained")) return fail(ErrorKind::kInvalidFile, "no \"trained\"");
  ASSIGN_OR_RETURN(outcome.trained, meter_from_json(json["trained"]));
  return outcome;
}

}  // namespace

LayerTrainings::LayerTrainings(const SelectionRequest& request, SelectionContext& context,
                               const TextPieces& texts, const Options& options)
    : request_(request),
      context_(context),
      texts_(texts),
      options_(options),
      none_(request.granularity, request.layout, false),
      outcomes_(none_.size()) {
  const std::int64_t steps = options_.layer.steps;
  if (options_.round == 0 || options_.round > steps) options_.round = steps;
  if (steps > 0) rounds_ = rounds_of(steps, options_.round);
  STRATA_CHECK(rounds_ == 1 || !options_.checkpoint.empty());
}

Result<LayerTrainings> LayerTrainings::start(const SelectionRequest& request,
                                             SelectionContext& context, const TextPieces& texts,
                                             const Options& options) {
  LayerTrainings trainings(request, context, texts, options);
  if (options.shared_steps > 0) RETURN_IF_ERROR(trainings.train_shared());
  trainings.before_ = context.model->meter();
  RETURN_IF_ERROR(trainings.find());
  return trainings;
}

std::int64_t LayerTrainings::steps_after(std::int64_t round) const {
  return std::min((round + 1) * options_.round, options_.layer.steps);
}

std::filesystem::path LayerTrainings::file_of(const std::string& part) const {
  if (options_.checkpoint.empty()) return {};
  std::filesystem::path file = options_.checkpoint;
  return file += "." + part;
}

Status LayerTrainings::train_shared() {
  const Model& model = context_.model->model();
  ASSIGN_OR_RETURN(const AttentionPlan plan, request_.plan(none_));
  HybridTraining training = options_.layer;
  training.steps = options_.shared_steps;
  RETURN_IF_ERROR(HybridTrainer::check(model, plan, training));
  HybridTrainer trainer(model, model, plan, training);
  std::vector<double> losses;
  RETURN_IF_ERROR(train("shared", "distilling with no layer restored", training.steps,
                        *context_.model, trainer, losses));
  shared_ = std::move(trainer).release();
  return {};
}

Status LayerTrainings::train(const std::string& part, const std::string& title, std::int64_t steps,
                             MeteredModel& metered, HybridTrainer& trainer,
                             std::vector<double>& losses) const {
  const TextTraining how{.title = title,
                         .steps = steps,
                         .batch = options_.layer.batch,
                         .seed = options_.layer.seed,
                         .checkpoint = file_of(part),
                         .identity = options_.identity + " " + part,
                         .seconds_between_checkpoints = options_.seconds_between_checkpoints};
  StepLoop loop = text_steps(metered, texts_.training, how, trainer, *context_.progress);
  // Scores are of every step, the curve is of some: so all losses go with the weights.
  losses.clear();
  loop.step = [&, step = loop.step](std::int64_t at) -> Result<nlohmann::json> {
    ASSIGN_OR_RETURN(nlohmann::json point, step(at));
    losses.push_back(trainer.losses().back());
    return point;
  };
  loop.state = [&] { return nlohmann::json{{"losses", losses}}; };
  loop.restore = [&, restore = loop.restore](const TrainingState& state,
                                             const std::filesystem::path& weights) -> Status {
    RETURN_IF_ERROR(restore(state, weights));
    ASSIGN_OR_RETURN(losses,
                     numbers_of(state.learner, "losses", static_cast<std::size_t>(state.next)));
    return {};
  };
  RETURN_IF_ERROR(run_steps(metered, loop, *context_.progress));
  return {};
}

Status LayerTrainings::find() {
  if (options_.checkpoint.empty()) return {};
  const auto layers = static_cast<std::int64_t>(outcomes_.size());
  return restore_checkpoint(
      options_.checkpoint, options_.identity, rounds_ * layers,
      [&](const TrainingState& state, const std::filesystem::path&) -> Status {
        if (!state.learner.is_array() || state.learner.size() != outcomes_.size())
          return fail(ErrorKind::kInvalidFile, "\"learner\": expected {} layers", layers);
        for (std::int64_t layer = 0; layer < layers; ++layer) {
          const auto i = static_cast<std::size_t>(layer);
          const std::int64_t rounds = state.next / layers + (layer < state.next % layers ? 1 : 0);
          ASSIGN_OR_RETURN(
              outcomes_[i],
              outcome_from_json(state.learner[i], rounds == 0 ? 0 : steps_after(rounds - 1),
                                static_cast<std::size_t>(rounds) * texts_.held_out.size()));
        }
        done_ = state.next;
        context_.model->absorb(state.cost);
        return {};
      });
}

Status LayerTrainings::save() const {
  if (options_.checkpoint.empty()) return {};
  nlohmann::json layers = nlohmann::json::array();
  for (const LayerOutcome& outcome : outcomes_) layers.push_back(json_of(outcome));
  return write_checkpoint(
      options_.checkpoint, options_.identity,
      {.next = done_, .cost = context_.model->meter() - before_, .learner = std::move(layers)}, {});
}

Status LayerTrainings::advance(std::size_t layer, std::int64_t round) {
  const Model& teacher = context_.model->model();
  const Model& from = shared_ == nullptr ? teacher : *shared_;
  ASSIGN_OR_RETURN(const AttentionPlan plan, request_.plan(none_.with(layer, true)));
  RETURN_IF_ERROR(HybridTrainer::check(from, plan, options_.layer));
  HybridTrainer trainer(teacher, from, plan, options_.layer);
  LayerOutcome& outcome = outcomes_[layer];
  if (const std::int64_t steps = steps_after(round); steps > 0) {
    // Counts all of the layer's steps, those that its checkpoint counts among them.
    MeteredModel metered(teacher, context_.model->limits(), context_.model->workers());
    RETURN_IF_ERROR(train(fmt::format("layer{}", layer),
                          fmt::format("distilling with layer {} restored", layer), steps, metered,
                          trainer, outcome.losses));
    context_.model->absorb(metered.meter() - outcome.trained);
    outcome.trained = metered.meter();
  }
  for (const Tokens& text : texts_.held_out) {
    const std::span<const TokenId> one = text;
    ASSIGN_OR_RETURN(const double loss, trainer.loss(std::span(&one, 1), *context_.model));
    outcome.held_out.push_back(loss);
  }
  return {};
}

Status LayerTrainings::run(std::int64_t round) {
  const auto layers = static_cast<std::int64_t>(outcomes_.size());
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    if (round * layers + layer < done_) continue;
    STRATA_CHECK(round * layers + layer == done_);
    if (context_.progress->stop_requested())
      return fail(ErrorKind::kInterrupted, "interrupted before layer {} of round {} of {}", layer,
                  round + 1, rounds_);
    RETURN_IF_ERROR(advance(static_cast<std::size_t>(layer), round));
    ++done_;
    RETURN_IF_ERROR(save());
    // What the layer has come to is written; its weights are not needed any more.
    if (const std::filesystem::path file = file_of(fmt::format("layer{}", layer));
        round + 1 == rounds_ && !file.empty())
      remove_checkpoint(file);
  }
  return {};
}

}  // namespace strata
