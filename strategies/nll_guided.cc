#include "strategies/builtin.h"
#include "strategies/nll_scorer.h"
#include "strategies/searcher.h"

namespace strata {
namespace {

template <typename Config>
ActivationReuse reuse_of(const Config& config) {
  return {config.reuse, static_cast<std::uint64_t>(config.reuse_mib) << 20};
}

template <typename Config>
Result<SharedScores> score_all(const SelectionRequest& request, SelectionContext& context,
                               const Config& config) {
  return score_all_units(request, context, config.mode == NllMode::kRestore, reuse_of(config),
                         Measure::kAnswerNll);
}

class NllGuided final : public SelectionStrategy {
 public:
  explicit NllGuided(NllGuidedConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return fmt::format("nll_{}{}", config::enum_name(config_.mode),
                       config_.searcher == NllSearcher::kGreedy ? "_greedy" : "");
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    if (config_.searcher == NllSearcher::kTopK) {
      ASSIGN_OR_RETURN(SharedScores scored, score_all(request, context, config_));
      return keep_highest(request, std::move(scored), k);
    }
    NllScorer scorer(request, context, reuse_of(config_));
    ASSIGN_OR_RETURN(SearchOutcome outcome, config_.mode == NllMode::kRestore
                                                ? greedy_forward(scorer, request, k)
                                                : greedy_backward(scorer, request, k));
    Selection selection{.mask = std::move(outcome.mask), .scores = std::move(outcome.scores)};
    selection.diagnostics["order"] = outcome.order;
    return selection;
  }

 private:
  NllGuidedConfig config_;
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
    ASSIGN_OR_RETURN(SharedScores scored, score_all(request, context, config_));
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
