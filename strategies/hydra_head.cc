#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "core/config/binder.h"
#include "models/path_patch.h"
#include "strategies/builtin.h"
#include "strategies/hydra_scores.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

// A calibration sample and its counterfactual.
struct Pair {
  std::size_t sample = 0;
  std::string probe;
  Tokens prompt, answer;  // corrupted
};

Error bad_counterfactual(const Sample& sample, std::string_view expected) {
  return make_error(ErrorKind::kInvalidArgument, "metadata 'counterfactual': expected {}", expected)
      .at(name_of(sample));
}

Result<Pair> pair_of(const Sample& sample, const nlohmann::json& other) {
  if (!other.is_object() || !other.contains("tokens") || !other["tokens"].is_array() ||
      !other.contains("answer") || !other["answer"].is_array())
    return fail(bad_counterfactual(sample, "\"tokens\" and \"answer\""));
  Pair pair{.prompt = sample.prompt};
  const auto length = static_cast<std::int64_t>(pair.prompt.size());
  for (const nlohmann::json& change : other["tokens"]) {
    const bool two = change.is_array() && change.size() == 2 && change[0].is_number_integer() &&
                     change[1].is_number_integer();
    const std::int64_t at = two ? change[0].get<std::int64_t>() : -1;
    if (at < 0 || at >= length)
      return fail(bad_counterfactual(
          sample, fmt::format("[position, token] within the {} tokens of the prompt", length)));
    pair.prompt[static_cast<std::size_t>(at)] = change[1].get<TokenId>();
  }
  for (const nlohmann::json& token : other["answer"]) {
    if (!token.is_number_integer()) return fail(bad_counterfactual(sample, "tokens in \"answer\""));
    pair.answer.push_back(token.get<TokenId>());
  }
  if (pair.answer.size() != sample.answer.size())
    return fail(bad_counterfactual(sample, fmt::format("{} tokens in \"answer\", as the clean one "
                                                       "has, got {}",
                                                       sample.answer.size(), pair.answer.size())));
  if (pair.answer == sample.answer || pair.prompt == sample.prompt)
    return fail(bad_counterfactual(sample, "another value than the sample's own"));
  return pair;
}

class HydraHeadStrategy final : public SelectionStrategy {
 public:
  explicit HydraHeadStrategy(HydraHeadConfig config) : config_(std::move(config)) {}
  CalibrationNeeds needs() const override { return {.pairs = true, .model = true}; }
  std::string label() const override {
    std::string marks;
    if (config_.corruption == HydraCorruption::kCheapBranch) marks += ",cheap_branch";
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

 private:
  using Heads = std::vector<std::size_t>;
  // The pairs, the margins by which each is divided, and effects so far; pairs that are dropped
  // leave.
  struct Evidence {
    std::vector<Pair> pairs;
    std::vector<HeadEffects> effects;
    std::optional<AttentionPlan> cheap;
    std::size_t dropped = 0, unpaired = 0;
  };

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

  Result<Evidence> pairs_of(const SelectionRequest& request,
                            const CalibrationSet& calibration) const;
  Status measure_direct(SelectionContext& context, Evidence& evidence) const;
  Status measure_paths(SelectionContext& context, Evidence& evidence, const Heads& receivers) const;
  std::vector<ProbeEffects> by_probe(const Evidence& evidence) const;
  Heads above_threshold(const Evidence& evidence, bool senders) const;
  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context) const;

  PatchSetting setting(const Evidence& evidence) const {
    return {.decay = config_.decay,
            .own_answer = config_.corrupted_answer == HydraAnswer::kOwn,
            .cheap = evidence.cheap ? &*evidence.cheap : nullptr,
            .sender_rows =
                config_.sender_rows == HydraRows::kAll ? SenderRows::kAll : SenderRows::kChanged};
  }
  static PatchPair patch_pair(const CalibrationSet& calibration, const Pair& pair) {
    const Sample& sample = calibration.samples[pair.sample];
    return {sample.prompt, sample.answer, pair.prompt, pair.answer};
  }
  static std::vector<std::size_t> samples_of(const Evidence& evidence) {
    std::vector<std::size_t> samples;
    for (const Pair& pair : evidence.pairs) samples.push_back(pair.sample);
    return samples;
  }

  HydraHeadConfig config_;
};

Result<HydraHeadStrategy::Evidence> HydraHeadStrategy::pairs_of(
    const SelectionRequest& request, const CalibrationSet& calibration) const {
  Evidence evidence;
  std::map<std::string, std::int64_t> taken;
  for (std::size_t i = 0; i < calibration.samples.size(); ++i) {
    const Sample& sample = calibration.samples[i];
    const auto found = sample.metadata.find("counterfactual");
    if (found == sample.metadata.end()) {
      ++evidence.unpaired;
      continue;
    }
    const auto probe = sample.metadata.find(config_.probes);
    const std::string name = probe == sample.metadata.end() ? std::string("all")
                             : probe->is_string()           ? probe->get<std::string>()
                                                            : probe->dump();
    if (++taken[name] > config_.pairs) continue;
    ASSIGN_OR_RETURN(Pair pair, pair_of(sample, *found));
    pair.sample = i;
    pair.probe = name;
    evidence.pairs.push_back(std::move(pair));
  }
  if (evidence.pairs.empty())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "none of the {} calibration samples has a counterfactual: the same "
                           "question with another value of as many tokens",
                           calibration.samples.size())
                    .with_hint("calibrate on a benchmark that knows where its values stand: "
                               "calibration=niah or calibration=multi_passkey"));
  if (config_.corruption == HydraCorruption::kCheapBranch) {
    if (!std::holds_alternative<SlidingWindow>(request.cheap))
      return fail(ErrorKind::kUnsupported,
                  "corruption=cheap_branch patches heads by a sliding window; the cheap mixer is "
                  "{}",
                  name_of(request.cheap));
    ASSIGN_OR_RETURN(evidence.cheap,
                     request.plan(Mask(request.granularity, request.layout, false)));
  }
  return evidence;
}

// Direct effects of every head; pairs whose corruption hardly moves the readout are dropped.
Status HydraHeadStrategy::measure_direct(SelectionContext& context, Evidence& evidence) const {
  std::vector<PatchEffects> found(evidence.pairs.size());
  const PatchSetting how = setting(evidence);
  RETURN_IF_ERROR(for_each_calibration_sample(
      context, "direct effects", samples_of(evidence),
      [&](MeteredModel& model, std::size_t i) -> Status {
        ASSIGN_OR_RETURN(
            found[i],
            direct_effects(model, patch_pair(*context.calibration, evidence.pairs[i]), how));
        return {};
      }));
  std::vector<Pair> kept;
  double widest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double margin = found[i].margin - found[i].other_margin;
    widest = std::max(widest, margin);
    if (!(margin >= config_.min_margin)) {
      ++evidence.dropped;
      continue;
    }
    HeadEffects effects{std::move(found[i].effects), {}};
    for (double& effect : effects.receiver) effect /= margin;
    effects.sender.assign(effects.receiver.size(), 0.0);
    evidence.effects.push_back(std::move(effects));
    kept.push_back(std::move(evidence.pairs[i]));
  }
  evidence.pairs = std::move(kept);
  if (evidence.pairs.empty())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "all {} pairs were dropped: the corruption moves the readout by at most "
                           "{:.3g} logits, expected at least min_margin={}",
                           evidence.dropped, widest, config_.min_margin)
                    .with_hint("the model does not answer from the needle here: calibrate on "
                               "shorter prompts (cheap_branch: on prompts longer than the window), "
                               "or lower strategy.min_margin"));
  return {};
}

// Effects of every head through the receivers.
Status HydraHeadStrategy::measure_paths(SelectionContext& context, Evidence& evidence,
                                        const Heads& receivers) const {
  const auto heads = evidence.effects[0].receiver.size();
  Heads senders(heads);
  for (std::size_t head = 0; head < heads; ++head) senders[head] = head;
  const PatchSetting how = setting(evidence);
  return for_each_calibration_sample(
      context, "effects through heads", samples_of(evidence),
      [&](MeteredModel& model, std::size_t i) -> Status {
        const PatchPair pair = patch_pair(*context.calibration, evidence.pairs[i]);
        ASSIGN_OR_RETURN(PatchEffects found, path_effects(model, pair, how, senders, receivers));
        for (double& effect : found.effects) effect /= found.margin - found.other_margin;
        evidence.effects[i].sender = std::move(found.effects);
        return {};
      });
}

std::vector<ProbeEffects> HydraHeadStrategy::by_probe(const Evidence& evidence) const {
  std::map<std::string, ProbeEffects> probes;
  for (std::size_t i = 0; i < evidence.pairs.size(); ++i) {
    ProbeEffects& probe = probes[evidence.pairs[i].probe];
    probe.name = evidence.pairs[i].probe;
    probe.pairs.push_back(evidence.effects[i]);
  }
  std::vector<ProbeEffects> out;
  out.reserve(probes.size());
  for (auto& [name, probe] : probes) out.push_back(std::move(probe));
  return out;
}

// Whose mean effect is above the threshold in some probe.
HydraHeadStrategy::Heads HydraHeadStrategy::above_threshold(const Evidence& evidence,
                                                            bool senders) const {
  std::set<std::size_t> found;
  for (const ProbeEffects& probe : by_probe(evidence)) {
    const std::vector<double> mean = mean_effects(probe, senders);
    for (std::size_t head = 0; head < mean.size(); ++head)
      if (mean[head] > config_.threshold) found.insert(head);
  }
  return {found.begin(), found.end()};
}

Result<SharedScores> HydraHeadStrategy::score(const SelectionRequest& request,
                                              SelectionContext& context) const {
  ASSIGN_OR_RETURN(Evidence evidence, pairs_of(request, *context.calibration));
  RETURN_IF_ERROR(measure_direct(context, evidence));
  const Heads receivers = above_threshold(evidence, /*senders=*/false);
  Heads found = receivers;
  std::int64_t rounds = 0;
  bool stable = receivers.empty();
  while (!stable && rounds < config_.rounds) {
    RETURN_IF_ERROR(measure_paths(context, evidence, found));
    ++rounds;
    std::set<std::size_t> all(found.begin(), found.end());
    const Heads senders = above_threshold(evidence, /*senders=*/true);
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
