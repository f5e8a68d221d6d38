#include "strategies/hydra_evidence.h"

#include <limits>
#include <map>
#include <set>

#include "models/path_patch.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

Error bad_counterfactual(const Sample& sample, std::string_view expected) {
  return make_error(ErrorKind::kInvalidArgument, "metadata 'counterfactual': expected {}", expected)
      .at(name_of(sample));
}

Result<HydraPair> pair_of(const Sample& sample, const nlohmann::json& other) {
  if (!other.is_object() || !other.contains("tokens") || !other["tokens"].is_array() ||
      !other.contains("answer") || !other["answer"].is_array())
    return fail(bad_counterfactual(sample, "\"tokens\" and \"answer\""));
  HydraPair pair{.prompt = sample.prompt};
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

PatchSetting setting(const HydraHeadConfig& config, const HydraEvidence& evidence) {
  return {.decay = config.decay,
          .own_answer = config.corrupted_answer == HydraAnswer::kOwn,
          .cheap = evidence.cheap ? &*evidence.cheap : nullptr,
          .sender_rows =
              config.sender_rows == HydraRows::kAll ? SenderRows::kAll : SenderRows::kChanged,
          .method = config.patching == HydraPatching::kExact ? PatchMethod::kExact
                                                             : PatchMethod::kAttribution};
}

PatchPair patch_pair(const CalibrationSet& calibration, const HydraPair& pair) {
  const Sample& sample = calibration.samples[pair.sample];
  return {sample.prompt, sample.answer, pair.prompt, pair.answer};
}

std::vector<std::size_t> samples_of(const HydraEvidence& evidence) {
  std::vector<std::size_t> samples;
  for (const HydraPair& pair : evidence.pairs) samples.push_back(pair.sample);
  return samples;
}

}  // namespace

Result<HydraEvidence> hydra_pairs(const HydraHeadConfig& config, const SelectionRequest& request,
                                  const CalibrationSet& calibration) {
  HydraEvidence evidence;
  std::map<std::string, std::int64_t> taken;
  for (std::size_t i = 0; i < calibration.samples.size(); ++i) {
    const Sample& sample = calibration.samples[i];
    const auto found = sample.metadata.find("counterfactual");
    if (found == sample.metadata.end()) {
      ++evidence.unpaired;
      continue;
    }
    const auto probe = sample.metadata.find(config.probes);
    const std::string name = probe == sample.metadata.end() ? std::string("all")
                             : probe->is_string()           ? probe->get<std::string>()
                                                            : probe->dump();
    if (++taken[name] > config.pairs) continue;
    ASSIGN_OR_RETURN(HydraPair pair, pair_of(sample, *found));
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
  if (config.corruption == HydraCorruption::kCheapBranch) {
    if (std::holds_alternative<FullAttention>(request.cheap))
      return fail(ErrorKind::kUnsupported,
                  "corruption=cheap_branch patches heads by what they give under the cheap mixer, "
                  "which is {}",
                  name_of(request.cheap));
    ASSIGN_OR_RETURN(evidence.cheap,
                     request.plan(Mask(request.granularity, request.layout, false)));
  }
  return evidence;
}

Status measure_direct(const HydraHeadConfig& config, SelectionContext& context,
                      HydraEvidence& evidence) {
  std::vector<PatchEffects> found(evidence.pairs.size());
  const PatchSetting how = setting(config, evidence);
  RETURN_IF_ERROR(for_each_calibration_sample(
      context, "direct effects", samples_of(evidence),
      [&](MeteredModel& model, std::size_t i) -> Status {
        ASSIGN_OR_RETURN(
            found[i],
            direct_effects(model, patch_pair(*context.calibration, evidence.pairs[i]), how));
        return {};
      }));
  std::vector<HydraPair> kept;
  double widest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double margin = found[i].margin - found[i].other_margin;
    widest = std::max(widest, margin);
    if (!(margin >= config.min_margin)) {
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
                           evidence.dropped, widest, config.min_margin)
                    .with_hint("the model does not answer from the needle here: calibrate on "
                               "shorter prompts (cheap_branch: on prompts longer than the window), "
                               "or lower strategy.min_margin"));
  return {};
}

Status measure_paths(const HydraHeadConfig& config, SelectionContext& context,
                     HydraEvidence& evidence, std::span<const std::size_t> senders,
                     std::span<const std::size_t> receivers) {
  const PatchSetting how = setting(config, evidence);
  return for_each_calibration_sample(
      context, "effects through heads", samples_of(evidence),
      [&](MeteredModel& model, std::size_t i) -> Status {
        const PatchPair pair = patch_pair(*context.calibration, evidence.pairs[i]);
        ASSIGN_OR_RETURN(PatchEffects found, path_effects(model, pair, how, senders, receivers));
        for (std::size_t s = 0; s < senders.size(); ++s)
          evidence.effects[i].sender[senders[s]] =
              found.effects[s] / (found.margin - found.other_margin);
        return {};
      });
}

std::vector<ProbeEffects> by_probe(const HydraEvidence& evidence) {
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

std::vector<std::size_t> above_threshold(const HydraHeadConfig& config,
                                         const HydraEvidence& evidence, bool senders) {
  std::set<std::size_t> found;
  for (const ProbeEffects& probe : by_probe(evidence)) {
    const std::vector<double> mean = mean_effects(probe, senders);
    for (std::size_t head = 0; head < mean.size(); ++head)
      if (mean[head] > config.threshold) found.insert(head);
  }
  return {found.begin(), found.end()};
}

}  // namespace strata
