// HydraHead's attribution patching against exact patching.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "core/check.h"
#include "core/correlation.h"
#include "core/rng.h"
#include "models/path_patch.h"
#include "strategies/hydra_evidence.h"

namespace strata {
namespace {

using Heads = std::vector<std::size_t>;

constexpr std::size_t kPairs = 4, kSenders = 32;

// Mean over pairs, of the heads given.
std::vector<double> means(const HydraEvidence& evidence, bool senders, const Heads& heads) {
  std::vector<double> out(heads.size(), 0.0);
  for (const HeadEffects& pair : evidence.effects)
    for (std::size_t i = 0; i < heads.size(); ++i)
      out[i] += (senders ? pair.sender : pair.receiver)[heads[i]] /
                static_cast<double>(evidence.effects.size());
  return out;
}

// Half of them those of largest effect, so that the few that matter are there, half drawn among the
// others; rising.
Heads sampled(const std::vector<double>& effects, std::uint64_t seed) {
  std::vector<double> sizes;
  for (const double effect : effects) sizes.push_back(std::abs(effect));
  Heads order = ranked(sizes);
  if (order.size() > kSenders) {
    constexpr std::size_t kHalf = kSenders / 2;
    const Heads others(order.begin() + kHalf, order.end());
    order.resize(kHalf);
    Rng rng(seed, "hydra_head.check_attribution");
    for (const std::size_t i : rng.sample(others.size(), kHalf)) order.push_back(others[i]);
  }
  std::sort(order.begin(), order.end());
  return order;
}

struct Agreement {
  std::size_t heads = 0;
  std::optional<double> pearson, spearman;
};

Agreement agreement(const std::vector<double>& claimed, const std::vector<double>& exact) {
  if (claimed.size() < 2) return {claimed.size(), {}, {}};
  return {claimed.size(), pearson(claimed, exact), spearman(claimed, exact)};
}

nlohmann::json to_json(const Agreement& of) {
  const auto number = [](const std::optional<double>& value) {
    return value ? nlohmann::json(*value) : nlohmann::json();
  };
  return {{"heads", of.heads}, {"pearson", number(of.pearson)}, {"spearman", number(of.spearman)}};
}

std::string text(const Agreement& of) {
  const auto number = [](const std::optional<double>& value) {
    return value ? fmt::format("{:.3f}", *value) : std::string("none");
  };
  return fmt::format("Pearson {}, Spearman {} over {} heads", number(of.pearson),
                     number(of.spearman), of.heads);
}

}  // namespace

Result<nlohmann::json> check_own_outputs(const HydraHeadConfig& config,
                                         const SelectionRequest& request,
                                         SelectionContext& context) {
  ASSIGN_OR_RETURN(const HydraEvidence evidence,
                   hydra_pairs(config, request, *context.calibration));
  const HydraPair& pair = evidence.pairs[0];
  const Sample& sample = context.calibration->samples[pair.sample];
  // Read against the other answer, so that there is something to change.
  ASSIGN_OR_RETURN(
      const PatchEffects effects,
      direct_effects(*context.model, {sample.prompt, sample.answer, sample.prompt, pair.answer},
                     {.decay = config.decay, .own_answer = false}));
  double largest = 0;
  for (const double effect : effects.effects) largest = std::max(largest, std::abs(effect));
  nlohmann::json out = nlohmann::json::object();
  note(out, {.name = "heads patched by their own output",
             .expected = "no effect at all",
             .found = fmt::format("{:.3g} of a readout of {:.3g}", largest, effects.margin),
             .outcome = largest == 0 ? Check::Outcome::kClear : Check::Outcome::kSign});
  return out;
}

Result<nlohmann::json> check_attribution(HydraHeadConfig config, const SelectionRequest& request,
                                         SelectionContext& context,
                                         std::span<const std::size_t> found) {
  config.patching = HydraPatching::kAttribution;
  ASSIGN_OR_RETURN(HydraEvidence claimed, hydra_pairs(config, request, *context.calibration));
  RETURN_IF_ERROR(measure_direct(config, context, claimed));
  claimed.pairs.resize(std::min(claimed.pairs.size(), kPairs));
  claimed.effects.resize(claimed.pairs.size());
  Heads all(claimed.effects[0].receiver.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  Heads senders;
  if (config.rounds > 0) {
    RETURN_IF_ERROR(measure_paths(config, context, claimed, all, found));
    senders = sampled(means(claimed, /*senders=*/true, all), request.seed);
  }

  config.patching = HydraPatching::kExact;
  HydraEvidence exact = claimed;
  exact.effects.clear();
  RETURN_IF_ERROR(measure_direct(config, context, exact));
  if (!senders.empty()) RETURN_IF_ERROR(measure_paths(config, context, exact, senders, found));

  const Agreement of_receivers = agreement(means(claimed, false, all), means(exact, false, all));
  const Agreement of_senders =
      agreement(means(claimed, true, senders), means(exact, true, senders));
  nlohmann::json out = {{"attribution",
                         {{"pairs", claimed.pairs.size()},
                          {"receivers", to_json(of_receivers)},
                          {"senders", to_json(of_senders)}}}};
  note(out, {.name = "attribution patching against exact patching",
             .expected = "near 1; an approximation is no bug",
             .found = fmt::format("{} pairs; receivers: {}; senders: {}", claimed.pairs.size(),
                                  text(of_receivers), text(of_senders)),
             .outcome = Check::Outcome::kNotJudged});
  return out;
}

}  // namespace strata
