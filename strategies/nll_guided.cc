#include "core/sha256.h"
#include "strategies/builtin.h"
#include "strategies/nll_scorer.h"
#include "strategies/searcher.h"

namespace strata {
namespace {

std::string_view name_of(NllMode mode) { return mode == NllMode::kRestore ? "restore" : "ablate"; }

// Single-unit scores depend on all of this, and on nothing else.
std::string score_key(const SelectionRequest& request, const SelectionContext& context,
                      NllMode mode, const ActivationReuse& reuse) {
  const nlohmann::json key = {{"scorer", "nll"},
                              {"model", context.model->model().id()},
                              {"calibration", context.calibration->id},
                              {"granularity", to_string(request.granularity)},
                              {"kept", to_json(request.kept)},
                              {"cheap", to_json(request.cheap)},
                              {"rule", to_string(request.rule)},
                              {"mode", name_of(mode)},
                              {"reuse", reuse.on}};
  return sha256_hex(key.dump());
}

template <typename Config>
ActivationReuse reuse_of(const Config& config) {
  return {config.reuse, static_cast<std::uint64_t>(config.reuse_mib) << 20};
}

struct Scored {
  UnitScores scores;
  Meter reused_cost;
};

Result<Scored> score_all(const SelectionRequest& request, SelectionContext& context, NllMode mode,
                         const ActivationReuse& reuse) {
  const std::string key = score_key(request, context, mode, reuse);
  if (context.cache != nullptr)
    if (const ScoreCache::Entry* known = context.cache->find(key))
      return Scored{known->scores, known->cost};
  const Mask start(request.granularity, request.layout, mode == NllMode::kAblate);
  std::vector<std::size_t> all(start.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  const Meter before = context.model->meter();
  NllScorer scorer(request, context, reuse);
  ASSIGN_OR_RETURN(UnitScores scores, scorer.score(start, all));
  if (context.cache != nullptr)
    context.cache->insert(key, {scores, context.model->meter() - before});
  return Scored{std::move(scores), {}};
}

class NllGuided final : public SelectionStrategy {
 public:
  explicit NllGuided(NllGuidedConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return fmt::format("nll_{}{}", name_of(config_.mode),
                       config_.searcher == NllSearcher::kGreedy ? "_greedy" : "");
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    if (config_.searcher == NllSearcher::kTopK) {
      ASSIGN_OR_RETURN(Scored scored, score_all(request, context, config_.mode, reuse_of(config_)));
      Mask mask = top_k(request, scored.scores.score, k);
      return Selection{.mask = std::move(mask),
                       .scores = std::move(scored.scores),
                       .reused_cost = scored.reused_cost};
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
    return fmt::format("inverted[nll_{}]", name_of(config_.mode));
  }
  std::string group() const override { return "inverted"; }
  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    ASSIGN_OR_RETURN(Scored scored, score_all(request, context, config_.mode, reuse_of(config_)));
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
