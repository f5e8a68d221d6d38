#include "core/rng.h"
#include "strategies/builtin.h"
#include "strategies/nll_scorer.h"
#include "strategies/searcher.h"
#include "strategies/signs.h"
#include "strategies/swaps.h"

namespace strata {
namespace {

std::string_view name_of(NllMode mode) { return mode == NllMode::kRestore ? "restore" : "ablate"; }

template <typename Config>
ActivationReuse reuse_of(const Config& config) {
  return {config.reuse, static_cast<std::uint64_t>(config.reuse_mib) << 20};
}

template <typename Config>
Result<SharedScores> score_all(const SelectionRequest& request, SelectionContext& context,
                               NllMode mode, const Config& config) {
  return score_all_units(request, context, mode == NllMode::kRestore, reuse_of(config),
                         Measure::kAnswerNll);
}

std::size_t count(std::int64_t value) { return static_cast<std::size_t>(value); }

SearchFrom from_of(NllMode mode) {
  return mode == NllMode::kRestore ? SearchFrom::kNothing : SearchFrom::kEverything;
}

nlohmann::json diagnostics_of(const SearchOutcome& outcome) {
  nlohmann::json json = {{"order", outcome.order}, {"nll", outcome.nll}};
  for (const MeanError& lead : outcome.leads)
    json["leads"].push_back({{"mean", lead.mean}, {"standard_error", lead.standard_error}});
  return json;
}

class NllGuided final : public SelectionStrategy {
 public:
  explicit NllGuided(NllGuidedConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    const std::string_view mode = name_of(config_.mode);
    switch (config_.searcher) {
      case NllSearcher::kTopK: return fmt::format("nll_{}", mode);
      case NllSearcher::kBeam: return fmt::format("nll_{}_beam{}", mode, config_.beam_width);
      case NllSearcher::kBidirectional:
        return config_.average == ScoreAverage::kNats ? "nll_bidirectional"
                                                      : "nll_bidirectional_ranks";
      default: return fmt::format("nll_{}_{}", mode, config::enum_name(config_.searcher));
    }
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    switch (config_.searcher) {
      case NllSearcher::kTopK: return by_single_scores(request, context, k);
      case NllSearcher::kSwap: return by_swaps(request, context, k);
      case NllSearcher::kBidirectional: return by_both_scores(request, context, k);
      default: break;
    }
    NllScorer scorer(request, context, reuse_of(config_));
    ASSIGN_OR_RETURN(SearchOutcome outcome, search(scorer, request, k));
    Selection selection{.mask = outcome.mask, .diagnostics = diagnostics_of(outcome)};
    selection.scores = std::move(outcome.scores);
    return selection;
  }

 private:
  NllGuidedConfig config_;

  Result<Selection> by_single_scores(const SelectionRequest& request, SelectionContext& context,
                                     std::size_t k) const {
    ASSIGN_OR_RETURN(SharedScores scored, score_all(request, context, config_.mode, config_));
    return keep_highest(request, std::move(scored), k);
  }

  Result<Selection> by_swaps(const SelectionRequest& request, SelectionContext& context,
                             std::size_t k) const {
    ASSIGN_OR_RETURN(Selection selection, by_single_scores(request, context, k));
    std::vector<std::size_t> samples = all_samples(*context.calibration);
    Rng(request.seed, "swap samples").shuffle(samples);
    ASSIGN_OR_RETURN(SwapOutcome refined,
                     refine_by_swaps(selection.mask, selection.scores->score, samples,
                                     mask_losses(request, context, reuse_of(config_)),
                                     {.candidates = count(config_.swap_candidates),
                                      .rounds = count(config_.swap_rounds),
                                      .errors = config_.swap_errors,
                                      .stages = count(config_.swap_stages)}));
    selection.diagnostics = to_json(refined);
    note(selection.diagnostics, swap_check(refined));
    selection.diagnostics["start"] = selection.mask.kept_units();
    selection.mask = std::move(refined.mask);
    return selection;
  }

  Result<Selection> by_both_scores(const SelectionRequest& request, SelectionContext& context,
                                   std::size_t k) const {
    if (config_.mode != NllMode::kRestore)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.mode is ablate; expected restore with "
                             "searcher=bidirectional, which averages both")
                      .with_hint("leave strategy.mode out"));
    ASSIGN_OR_RETURN(const SharedScores restore,
                     score_all(request, context, NllMode::kRestore, config_));
    ASSIGN_OR_RETURN(const SharedScores ablate,
                     score_all(request, context, NllMode::kAblate, config_));
    UnitScores scores = bidirectional(restore.scores, ablate.scores);
    Mask mask = config_.average == ScoreAverage::kNats
                    ? top_k(request, scores.score, k)
                    : top_k_by_rank(request, restore.scores, ablate.scores, k);
    Meter reused = restore.reused_cost;
    reused += ablate.reused_cost;
    return Selection{
        .mask = std::move(mask),
        .scores = std::move(scores),
        .diagnostics = {{"restore", restore.scores.score}, {"ablate", ablate.scores.score}},
        .reused_cost = reused};
  }

  Result<SearchOutcome> search(NllScorer& scorer, const SelectionRequest& request,
                               std::size_t k) const {
    const SearchFrom from = from_of(config_.mode);
    switch (config_.searcher) {
      case NllSearcher::kBeam:
        return beam_search(scorer, request, k, count(config_.beam_width), from);
      case NllSearcher::kRacing:
        return racing(scorer, request, k, count(config_.racing_stages), from);
      default:
        return from == SearchFrom::kNothing ? greedy_forward(scorer, request, k)
                                            : greedy_backward(scorer, request, k);
    }
  }
};

class Inverted final : public SelectionStrategy {
 public:
  explicit Inverted(InvertedConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return fmt::format("inverted[nll_{}]", config::enum_name(config_.mode));
  }
  std::string group() const override { return "inverted"; }
  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    ASSIGN_OR_RETURN(SharedScores scored, score_all(request, context, config_.mode, config_));
    Mask mask = bottom_k(request, scored.scores.score, k);
    return Selection{.mask = std::move(mask),
                     .scores = std::move(scored.scores),
                     .reused_cost = scored.reused_cost};
  }

 private:
  InvertedConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const InvertedConfig& config) {
  return std::make_unique<Inverted>(config);
}
std::unique_ptr<SelectionStrategy> make_strategy(const NllGuidedConfig& config) {
  return std::make_unique<NllGuided>(config);
}

}  // namespace strata
