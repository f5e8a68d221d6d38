#include <algorithm>
#include <memory>
#include <numeric>

#include "core/config/binder.h"
#include "models/parallel.h"
#include "models/training/hybrid_training.h"
#include "models/training/training_checkpoint.h"
#include "strategies/builtin.h"
#include "strategies/shared_scores.h"
#include "strategies/text_pieces.h"

namespace strata {
namespace {

class KlLs final : public SelectionStrategy {
 public:
  explicit KlLs(KlLsConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.prompts = true, .model = true}; }
  std::string label() const override {
    if (!distils()) return restore()->label();
    std::string marks;
    if (config_.steps == 0) marks += ",shared";
    if (config_.steps == 0 || config_.proxy == KlLsProxy::kHeldOut) marks += ",held_out";
    if (config_.train == KlLsWeights::kAll) marks += ",all";
    return marks.empty() ? "kl_ls" : fmt::format("kl_ls[{}]", marks.substr(1));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    if (!distils()) return restore()->select(request, context);
    if (request.granularity != Granularity::kLayer)
      return fail(make_error(ErrorKind::kUnsupported, "kl_ls restores whole layers, not {}s",
                             to_string(request.granularity))
                      .with_hint("granularity=layer"));
    if (request.budget.mode == BudgetMode::kAtMost)
      return fail(ErrorKind::kUnsupported,
                  "kl_ls ranks layers by -KL, which is no gain that could be 0; expected "
                  "budget.mode=exact");
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    nlohmann::json key = config::to_json(config_);
    key["measure"] = "kl_ls";
    key["seed"] = request.seed;
    ASSIGN_OR_RETURN(SharedScores scored,
                     shared_scores(request, context, key, [&] { return score(request, context); }));
    return keep_highest(request, std::move(scored), k);
  }

 private:
  bool distils() const { return config_.steps > 0 || config_.shared_steps > 0; }
  bool reads_held_out() const { return config_.steps == 0 || config_.proxy == KlLsProxy::kHeldOut; }
  static std::unique_ptr<SelectionStrategy> restore() {
    return make_strategy(
        KlGuidedConfig{.mode = NllMode::kRestore, .positions = KlPositions::kBeyondWindow});
  }
  HybridTraining training(std::int64_t steps, std::uint64_t seed) const {
    return {.steps = steps,
            .batch = config_.batch,
            .rate = config_.rate,
            .last_rate = config_.rate,
            .temperature = config_.temperature,
            .train = config_.train == KlLsWeights::kAll ? TrainedWeights::kAll
                                                        : TrainedWeights::kBranches,
            .seed = seed};
  }
  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context) const;

  KlLsConfig config_;
};

// What one layer's distillation came to.
struct Outcome {
  std::vector<double> losses;    // of each step
  std::vector<double> held_out;  // of each text set apart
};

Result<Outcome> distil_one(SelectionContext& context, const Model& start, const AttentionPlan& plan,
                           const TextPieces& texts, const HybridTraining& training,
                           const std::string& title) {
  RETURN_IF_ERROR(HybridTrainer::check(start, plan, training));
  MeteredModel& metered = *context.model;
  HybridTrainer trainer(metered.model(), start, plan, training);
  if (training.steps > 0)
    RETURN_IF_ERROR(train_on_texts(metered, texts.training,
                                   {.title = title,
                                    .steps = training.steps,
                                    .batch = training.batch,
                                    .seed = training.seed,
                                    .checkpoint = {},
                                    .identity = {}},
                                   trainer, *context.progress));
  Outcome out{.losses = trainer.losses()};
  for (const Tokens& text : texts.held_out) {
    const std::span<const TokenId> one = text;
    ASSIGN_OR_RETURN(const double loss, trainer.loss(std::span(&one, 1), metered));
    out.held_out.push_back(loss);
  }
  return out;
}

double tail_mean(const std::vector<double>& losses, double share) {
  const auto count = std::max<std::ptrdiff_t>(
      1, static_cast<std::ptrdiff_t>(share * static_cast<double>(losses.size())));
  return std::accumulate(losses.end() - count, losses.end(), 0.0) / static_cast<double>(count);
}

// Losses of all layers' trainings, step by step.
nlohmann::json curve_of(const std::vector<Outcome>& outcomes) {
  const auto steps = static_cast<std::int64_t>(outcomes[0].losses.size());
  if (steps == 0) return nullptr;
  nlohmann::json curve = nlohmann::json::array();
  for (std::int64_t step = 0; step < steps; ++step) {
    if (!is_on_curve(step, steps)) continue;
    std::vector<double> losses;
    for (const Outcome& outcome : outcomes)
      losses.push_back(outcome.losses[static_cast<std::size_t>(step)]);
    const double mean =
        std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
    curve.push_back({{"step", step}, {"loss", mean}, {"loss_of_layers", losses}});
  }
  return curve;
}

Result<SharedScores> KlLs::score(const SelectionRequest& request, SelectionContext& context) const {
  const AllThreads threads(*context.model);
  ASSIGN_OR_RETURN(const TextPieces texts, text_pieces(*context.calibration, config_.length,
                                                       reads_held_out() ? config_.held_out : 0));
  const Mask none(request.granularity, request.layout, false);
  const Model* start = &context.model->model();
  DistilledStudent shared;
  if (config_.shared_steps > 0) {
    ASSIGN_OR_RETURN(const AttentionPlan plan, request.plan(none));
    ASSIGN_OR_RETURN(shared,
                     distil(*context.model, *start, plan, texts.training,
                            training(config_.shared_steps, request.seed), *context.progress));
    start = shared.model.get();
  }
  std::vector<Outcome> outcomes;
  for (int layer = 0; layer < request.layout.layers; ++layer) {
    ASSIGN_OR_RETURN(const AttentionPlan plan,
                     request.plan(none.with(static_cast<std::size_t>(layer), true)));
    // The same texts in the same order for every layer.
    ASSIGN_OR_RETURN(Outcome outcome,
                     distil_one(context, *start, plan, texts, training(config_.steps, request.seed),
                                fmt::format("distilling with layer {} restored", layer)));
    outcomes.push_back(std::move(outcome));
  }
  SharedScores out;
  if (reads_held_out()) {
    std::vector<std::vector<double>> rows(texts.held_out.size());
    for (std::size_t text = 0; text < rows.size(); ++text)
      for (const Outcome& outcome : outcomes) rows[text].push_back(-outcome.held_out[text]);
    out.scores = means_over_samples(rows);
  } else {
    std::vector<double> scores;
    for (const Outcome& outcome : outcomes)
      scores.push_back(-tail_mean(outcome.losses, config_.tail));
    out.scores = plain_scores(std::move(scores));
  }
  out.training = curve_of(outcomes);
  const auto tokens = [&](std::int64_t steps) { return steps * config_.batch * config_.length; };
  out.diagnostics = {{"measure", reads_held_out() ? "-KL from the teacher, held-out text"
                                                  : "-KL from the teacher, end of training"},
                     {"shared_tokens", tokens(config_.shared_steps)},
                     {"tokens_a_layer", tokens(config_.steps)},
                     {"texts", texts.training.size()},
                     {"texts_held_out", texts.held_out.size()}};
  return out;
}

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const KlLsConfig& config) {
  return std::make_unique<KlLs>(config);
}

}  // namespace strata
