#include <algorithm>
#include <memory>
#include <numeric>
#include <span>

#include "core/config/binder.h"
#include "core/jaccard.h"
#include "core/sha256.h"
#include "models/parallel.h"
#include "models/training/training_checkpoint.h"
#include "strategies/builtin.h"
#include "strategies/layer_trainings.h"
#include "strategies/searcher.h"
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
    if (reads_held_out()) marks += ",held_out";
    if (config_.train == KlLsWeights::kAll) marks += ",all";
    if (stops_early()) marks += ",early_stop";
    return marks.empty() ? "kl_ls" : fmt::format("kl_ls[{}]", marks.substr(1));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    if (stops_early()) RETURN_IF_ERROR(check_stop(context));
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
    if (stops_early()) key["k"] = k;  // it is a set of K that must settle
    ASSIGN_OR_RETURN(SharedScores scored, shared_scores(request, context, key, [&] {
                       return score(request, context, key, k);
                     }));
    return keep_highest(request, std::move(scored), k);
  }

 private:
  bool distils() const { return config_.steps > 0 || config_.shared_steps > 0; }
  bool stops_early() const { return config_.stop_round > 0; }
  bool reads_held_out() const { return config_.steps == 0 || config_.proxy == KlLsProxy::kHeldOut; }
  static std::unique_ptr<SelectionStrategy> restore() {
    return make_strategy(
        KlGuidedConfig{.mode = NllMode::kRestore, .positions = KlPositions::kBeyondWindow});
  }
  HybridTraining training(std::uint64_t seed) const {
    return {.steps = config_.steps,
            .batch = config_.batch,
            .rate = config_.rate,
            .last_rate = config_.rate,
            .temperature = config_.temperature,
            .train = config_.train == KlLsWeights::kAll ? TrainedWeights::kAll
                                                        : TrainedWeights::kBranches,
            .seed = seed};
  }
  Status check_stop(const SelectionContext& context) const;
  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context,
                             const nlohmann::json& key, std::size_t k) const;
  UnitScores scores_behind(std::int64_t round, const LayerTrainings& trainings,
                           std::size_t texts_held_out) const;
  // overlaps: of the K best behind each round with those behind the round before.
  bool settled(std::span<const double> overlaps) const;
  nlohmann::json diagnostics_of(const TextPieces& texts, std::int64_t steps) const;

  KlLsConfig config_;
};

// That a stop can save anything, and that there is a place for layers between their rounds.
Status KlLs::check_stop(const SelectionContext& context) const {
  const std::int64_t rounds = LayerTrainings::rounds_of(config_.steps, config_.stop_round);
  if (rounds - 2 < config_.stop_window)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "strategy.steps={} makes {} rounds of strategy.stop_round={}; expected "
                           "more than the {} that strategy.stop_window={} takes, else nothing is "
                           "saved",
                           config_.steps, rounds, config_.stop_round, config_.stop_window + 1,
                           config_.stop_window)
                    .with_hint("lower strategy.stop_round or strategy.stop_window"));
  if (context.checkpoint.empty())
    return fail(make_error(ErrorKind::kUnsupported,
                           "an early stop of kl_ls keeps the training of every layer in files "
                           "between its rounds, which have no place here")
                    .with_hint("strata run or strata select, or strategy.stop_round=0"));
  return {};
}

double tail_mean(std::span<const double> losses, double share) {
  const auto count = std::max<std::size_t>(
      1, static_cast<std::size_t>(share * static_cast<double>(losses.size())));
  const std::span<const double> tail = losses.last(count);
  return std::accumulate(tail.begin(), tail.end(), 0.0) / static_cast<double>(count);
}

UnitScores KlLs::scores_behind(std::int64_t round, const LayerTrainings& trainings,
                               std::size_t texts_held_out) const {
  if (reads_held_out()) {
    std::vector<std::vector<double>> rows(texts_held_out);
    for (std::size_t text = 0; text < rows.size(); ++text)
      for (const LayerOutcome& outcome : trainings.outcomes())
        rows[text].push_back(
            -outcome.held_out[static_cast<std::size_t>(round) * texts_held_out + text]);
    return means_over_samples(rows);
  }
  const auto steps = static_cast<std::size_t>(trainings.steps_after(round));
  std::vector<double> scores;
  for (const LayerOutcome& outcome : trainings.outcomes())
    scores.push_back(-tail_mean(std::span(outcome.losses).first(steps), config_.tail));
  return plain_scores(std::move(scores));
}

bool KlLs::settled(std::span<const double> overlaps) const {
  const auto window = static_cast<std::size_t>(config_.stop_window);
  if (overlaps.size() < window) return false;
  const std::span<const double> last = overlaps.last(window);
  const double mean = std::accumulate(last.begin(), last.end(), 0.0) / static_cast<double>(window);
  return mean >= config_.stop_threshold;
}

// Losses of all layers' trainings, step by step.
nlohmann::json curve_of(const std::vector<LayerOutcome>& outcomes) {
  const auto steps = static_cast<std::int64_t>(outcomes[0].losses.size());
  if (steps == 0) return nullptr;
  nlohmann::json curve = nlohmann::json::array();
  for (std::int64_t step = 0; step < steps; ++step) {
    if (!is_on_curve(step, steps)) continue;
    std::vector<double> losses;
    losses.reserve(outcomes.size());
    for (const LayerOutcome& outcome : outcomes)
      losses.push_back(outcome.losses[static_cast<std::size_t>(step)]);
    const double mean =
        std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
    curve.push_back({{"step", step}, {"loss", mean}, {"loss_of_layers", losses}});
  }
  return curve;
}

// `steps`: of each layer.
nlohmann::json KlLs::diagnostics_of(const TextPieces& texts, std::int64_t steps) const {
  const auto tokens = [&](std::int64_t of) { return of * config_.batch * config_.length; };
  return {{"measure", reads_held_out() ? "-KL from the teacher, held-out text"
                                       : "-KL from the teacher, end of training"},
          {"shared_tokens", tokens(config_.shared_steps)},
          {"tokens_a_layer", tokens(steps)},
          {"texts", texts.training.size()},
          {"texts_held_out", texts.held_out.size()}};
}

Result<SharedScores> KlLs::score(const SelectionRequest& request, SelectionContext& context,
                                 const nlohmann::json& key, std::size_t k) const {
  const AllThreads threads(*context.model);
  ASSIGN_OR_RETURN(const TextPieces texts, text_pieces(*context.calibration, config_.length,
                                                       reads_held_out() ? config_.held_out : 0));
  const nlohmann::json identity = {
      {"scorer", key}, {"numerics", kNumericsVersion}, {"for", scored_for(request, context)}};
  ASSIGN_OR_RETURN(
      LayerTrainings trainings,
      LayerTrainings::start(request, context, texts,
                            {.layer = training(request.seed),
                             .shared_steps = config_.shared_steps,
                             .round = config_.stop_round,
                             .checkpoint = context.checkpoint,
                             .identity = sha256_hex(identity.dump()),
                             .seconds_between_checkpoints = config_.checkpoint_seconds}));
  SharedScores out;
  std::int64_t steps = 0;
  std::vector<std::size_t> best;
  std::vector<double> overlaps;
  for (std::int64_t round = 0; round < trainings.rounds() && !settled(overlaps); ++round) {
    RETURN_IF_ERROR(trainings.run(round));
    steps = trainings.steps_after(round);
    out.scores = scores_behind(round, trainings, texts.held_out.size());
    std::vector<std::size_t> now = top_k(request, out.scores.score, k).kept_units();
    if (round > 0) overlaps.push_back(jaccard(best, now));
    best = std::move(now);
  }
  out.training = curve_of(trainings.outcomes());
  out.diagnostics = diagnostics_of(texts, steps);
  if (stops_early())
    out.diagnostics["early_stop"] = {{"rounds", overlaps.size() + 1},
                                     {"jaccard", overlaps},
                                     {"stopped", steps < config_.steps},
                                     {"tokens_saved", (config_.steps - steps) * config_.batch *
                                                          config_.length * request.layout.layers}};
  return out;
}

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const KlLsConfig& config) {
  return std::make_unique<KlLs>(config);
}

}  // namespace strata
