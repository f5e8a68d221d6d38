#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "core/config/binder.h"
#include "strategies/builtin.h"
#include "strategies/hydra_evidence.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

class HydraHeadStrategy final : public SelectionStrategy {
 public:
  explicit HydraHeadStrategy(HydraHeadConfig config) : config_(std::move(config)) {}
  CalibrationNeeds needs() const override { return {.pairs = true, .model = true}; }
  std::string label() const override {
    std::string marks;
    if (config_.corruption == HydraCorruption::kCheapBranch) marks += ",cheap_branch";
    if (config_.patching == HydraPatching::kAttribution) marks += ",attribution";
    if (config_.per_layer > 0) marks += fmt::format(",per_layer={}", config_.per_layer);
    return marks.empty() ? "hydra_head" : fmt::format("hydra_head[{}]", marks.substr(1));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    RETURN_IF_ERROR(check_per_layer(request, k));
    nlohmann::json key = config::to_json(config_);
    key.erase("per_layer");
    key["measure"] = "hydra_head";
    ASSIGN_OR_RETURN(SharedScores scored,
                     shared_scores(request, context, key, [&] { return score(request, context); }));
    Mask mask = top_k(request, with_floor(request, scored.scores.score), k);
    Selection selection = keep_highest(request, std::move(scored), k);
    selection.mask = std::move(mask);
    return selection;
  }

  Result<nlohmann::json> full_checks(const SelectionRequest& request, SelectionContext& context,
                                     const Selection& selection) const override {
    ASSIGN_OR_RETURN(nlohmann::json checks, check_own_outputs(config_, request, context));
    if (config_.patching == HydraPatching::kExact) return checks;
    const auto found = selection.diagnostics["found"].get<std::vector<std::size_t>>();
    ASSIGN_OR_RETURN(nlohmann::json compared, check_attribution(config_, request, context, found));
    for (const nlohmann::json& check : compared["checks"]) checks["checks"].push_back(check);
    checks["attribution"] = std::move(compared["attribution"]);
    return checks;
  }

 private:
  using Heads = std::vector<std::size_t>;
  Status check_per_layer(const SelectionRequest& request, std::size_t k) const {
    const auto floor = static_cast<std::size_t>(config_.per_layer);
    const auto units =
        static_cast<std::size_t>(request.layout.units_per_layer(request.granularity));
    const auto layers = static_cast<std::size_t>(request.layout.layers);
    if (floor <= units && floor * layers <= k) return {};
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "per_layer={} of {} layers of {} {}s are {} units, but the budget is {}",
                           floor, layers, units, to_string(request.granularity), floor * layers, k)
                    .with_hint("raise budget.fraction, take a finer granularity or set "
                               "strategy.per_layer=0"));
  }

  // Scores in which the best `per_layer` units of each layer come before all others.
  std::vector<double> with_floor(const SelectionRequest& request,
                                 std::vector<double> scores) const {
    const auto units =
        static_cast<std::size_t>(request.layout.units_per_layer(request.granularity));
    const std::vector<std::size_t> order = ranked(scores);
    std::vector<std::int64_t> taken(scores.size() / units, 0);
    for (const std::size_t unit : order)
      if (taken[unit / units]++ < config_.per_layer)
        scores[unit] = std::numeric_limits<double>::infinity();
    return scores;
  }

  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context) const;

  HydraHeadConfig config_;
};

Result<SharedScores> HydraHeadStrategy::score(const SelectionRequest& request,
                                              SelectionContext& context) const {
  ASSIGN_OR_RETURN(HydraEvidence evidence, hydra_pairs(config_, request, *context.calibration));
  RETURN_IF_ERROR(measure_direct(config_, context, evidence));
  const Heads receivers = above_threshold(config_, evidence, /*senders=*/false);
  Heads found = receivers, all_heads(evidence.effects[0].receiver.size());
  std::iota(all_heads.begin(), all_heads.end(), std::size_t{0});
  std::int64_t rounds = 0;
  bool stable = receivers.empty();
  while (!stable && rounds < config_.rounds) {
    RETURN_IF_ERROR(measure_paths(config_, context, evidence, all_heads, found));
    ++rounds;
    std::set<std::size_t> all(found.begin(), found.end());
    const Heads senders = above_threshold(config_, evidence, /*senders=*/true);
    all.insert(senders.begin(), senders.end());
    stable = all.size() == found.size();
    found.assign(all.begin(), all.end());
  }

  const std::vector<ProbeEffects> probes = by_probe(evidence);
  const HydraScores scores = hydra_scores(probes, config_.threshold, config_.consistency);
  const auto heads = static_cast<std::size_t>(request.layout.query_heads);
  const auto rows = [&](const std::vector<double>& flat) {
    nlohmann::json out = nlohmann::json::array();
    for (auto at = flat.begin(); at != flat.end(); at += static_cast<std::ptrdiff_t>(heads))
      out.push_back(std::vector<double>(at, at + static_cast<std::ptrdiff_t>(heads)));
    return out;
  };
  nlohmann::json pairs_of_probe = nlohmann::json::object();
  for (const ProbeEffects& probe : probes) pairs_of_probe[probe.name] = probe.pairs.size();
  nlohmann::json diagnostics = {{"measure", "effect of patching heads, scaled to 0 … 1"},
                                {"patching", config::enum_name(config_.patching)},
                                {"pairs", pairs_of_probe},
                                {"pairs_dropped", evidence.dropped},
                                {"samples_without_counterfactual", evidence.unpaired},
                                {"rounds", rounds},
                                {"stable", stable},
                                {"receivers", receivers},
                                {"found", found},
                                {"receiver_effects", rows(scores.receiver)},
                                {"sender_effects", rows(scores.sender)},
                                {"consistency", rows(scores.consistency)}};
  std::vector<double> of_units, means;
  const std::size_t group =
      heads / static_cast<std::size_t>(request.layout.units_per_layer(request.granularity));
  for (std::size_t first = 0; first < scores.score.size(); first += group) {
    const auto begin = scores.score.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = begin + static_cast<std::ptrdiff_t>(group);
    of_units.push_back(*std::max_element(begin, end));
    means.push_back(std::accumulate(begin, end, 0.0) / static_cast<double>(group));
  }
  if (group > 1) diagnostics["mean_over_heads"] = means;
  return SharedScores{.scores = plain_scores(std::move(of_units)),
                      .diagnostics = std::move(diagnostics)};
}

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const HydraHeadConfig& config) {
  return std::make_unique<HydraHeadStrategy>(config);
}

}  // namespace strata
