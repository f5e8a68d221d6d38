// What HydraHead measures: the effects of heads on pairs of prompts (models/path_patch.h).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "strategies/hydra_head_config.h"
#include "strategies/hydra_scores.h"
#include "strategies/strategy.h"

namespace strata {

// A calibration sample and its counterfactual.
struct HydraPair {
  std::size_t sample = 0;
  std::string probe;
  Tokens prompt, answer;  // corrupted
};

struct HydraEvidence {
  std::vector<HydraPair> pairs;
  std::vector<HeadEffects> effects;    // of each pair, so far
  std::optional<AttentionPlan> cheap;  // where heads are patched by what they give under it
  std::size_t dropped = 0;             // pairs whose corruption hardly moves the readout
  std::size_t unpaired = 0;            // samples without a counterfactual
};

// Nothing measured yet. Errors: a counterfactual that is none; no pair at all.
Result<HydraEvidence> hydra_pairs(const HydraHeadConfig& config, const SelectionRequest& request,
                                  const CalibrationSet& calibration);

// Direct effects of every head, senders' all 0; pairs that move the readout by less than min_margin
// leave. Errors: none is left; those of the model, kInterrupted.
Status measure_direct(const HydraHeadConfig& config, SelectionContext& context,
                      HydraEvidence& evidence);

// Effects of senders (rising) through the receivers (rising), on pairs whose direct effects are
// known.
Status measure_paths(const HydraHeadConfig& config, SelectionContext& context,
                     HydraEvidence& evidence, std::span<const std::size_t> senders,
                     std::span<const std::size_t> receivers);

std::vector<ProbeEffects> by_probe(const HydraEvidence& evidence);

// Heads (rising) whose mean effect in the role given is above the threshold in some probe.
std::vector<std::size_t> above_threshold(const HydraHeadConfig& config,
                                         const HydraEvidence& evidence, bool senders);

// Direct effects of all heads on the first pair's text, each patched by its own output: a check
// that they are exactly 0 (core/check.h).
Result<nlohmann::json> check_own_outputs(const HydraHeadConfig& config,
                                         const SelectionRequest& request,
                                         SelectionContext& context);

// Attribution patching against exact patching: on a few of the pairs, all receivers and a sample of
// the senders into the heads `found`. A check (core/check.h), which judges nothing, and
// "attribution": {"pairs", "receivers", "senders": {"heads", "pearson", "spearman"}}; null where
// one of both is the same for all heads.
Result<nlohmann::json> check_attribution(HydraHeadConfig config, const SelectionRequest& request,
                                         SelectionContext& context,
                                         std::span<const std::size_t> found);

}  // namespace strata
