// `hydra_head`: heads by activation patching, as receivers that write the answer and as senders
// that feed them (HydraHead, arXiv 2606.20097).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class HydraCorruption { kCounterfactual, kCheapBranch };
enum class HydraRows { kAll, kChanged };
enum class HydraAnswer { kOwn, kClean };
enum class HydraConsistency { kPairs, kProbes };
enum class HydraPatching { kExact, kAttribution };

namespace config {
template <>
struct EnumTable<HydraCorruption> {
  static constexpr std::array<std::pair<HydraCorruption, std::string_view>, 2> kNames{
      {{HydraCorruption::kCounterfactual, "counterfactual"},
       {HydraCorruption::kCheapBranch, "cheap_branch"}}};
};
template <>
struct EnumTable<HydraRows> {
  static constexpr std::array<std::pair<HydraRows, std::string_view>, 2> kNames{
      {{HydraRows::kAll, "all"}, {HydraRows::kChanged, "changed"}}};
};
template <>
struct EnumTable<HydraAnswer> {
  static constexpr std::array<std::pair<HydraAnswer, std::string_view>, 2> kNames{
      {{HydraAnswer::kOwn, "own"}, {HydraAnswer::kClean, "clean"}}};
};
template <>
struct EnumTable<HydraConsistency> {
  static constexpr std::array<std::pair<HydraConsistency, std::string_view>, 2> kNames{
      {{HydraConsistency::kPairs, "pairs"}, {HydraConsistency::kProbes, "probes"}}};
};
template <>
struct EnumTable<HydraPatching> {
  static constexpr std::array<std::pair<HydraPatching, std::string_view>, 2> kNames{
      {{HydraPatching::kExact, "exact"}, {HydraPatching::kAttribution, "attribution"}}};
};
}  // namespace config

struct HydraHeadConfig {
  static constexpr std::string_view kName = "hydra_head";
  static constexpr std::string_view kHelp =
      "heads by activation patching: direct effect on the answer, and through the heads that have "
      "one (HydraHead, arXiv 2606.20097); KV heads and layers by their best head";
  std::int64_t pairs = 12;
  double decay = 0.9;
  double threshold = 0.01;
  double min_margin = 0.5;
  std::int64_t rounds = 2;
  std::int64_t per_layer = 0;
  std::string probes = "task";
  HydraConsistency consistency = HydraConsistency::kPairs;
  HydraCorruption corruption = HydraCorruption::kCounterfactual;
  HydraAnswer corrupted_answer = HydraAnswer::kOwn;
  HydraRows sender_rows = HydraRows::kAll;
  HydraPatching patching = HydraPatching::kExact;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("pairs", self.pairs,
          "calibration samples of each sub-probe used at most, each a pair with its "
          "counterfactual (the paper's ranking settles between 6 and 12)",
          config::at_least(1));
    visit("decay", self.decay,
          "weight of each answer token in the readout by that of the one before",
          config::between(0.01, 1));
    visit("threshold", self.threshold,
          "effect, as a share of the pair's whole, above which a head counts: for consistency "
          "(published) and as receiver or sender of the next round (inferred)",
          config::at_least(0));
    visit("min_margin", self.min_margin,
          "logits by which the counterfactual must move the readout; pairs below are dropped and "
          "counted (inferred)",
          config::above(0));
    visit("rounds", self.rounds,
          "times that heads are sought which act through those found, at most; ends where none is "
          "new. 0: direct effects alone",
          config::between(0, 16));
    visit("per_layer", self.per_layer,
          "units of each layer that are kept in any case; 1: the paper's constrained screening",
          config::at_least(0));
    visit("probes", self.probes,
          "metadata field by whose values the calibration samples are sub-probes; all are one "
          "where they do not have it");
    visit("consistency", self.consistency,
          "a head's effect is multiplied by the share of these in which it is above the threshold: "
          "pairs, each sub-probe being a capability whose scores are fused; or sub-probes of a "
          "single capability (both inferred)");
    visit("corruption", self.corruption,
          "what a head's output is replaced by: counterfactual: its output where the needle has "
          "another value (published); cheap_branch: what it gives under the evaluated cheap mixer");
    visit("corrupted_answer", self.corrupted_answer,
          "the answer that the counterfactual goes on with: own, or the clean one (inferred)");
    visit("sender_rows", self.sender_rows,
          "rows of a sender that are replaced: all; changed: of the needle's value, of the token "
          "behind it and of the answer, much faster (inferred)");
    visit("patching", self.patching,
          "exact: forward passes of every head, patched (published); attribution: the change of a "
          "head's output times the gradient of the readout, all heads in one backward pass (what "
          "the paper suggests; its form here is inferred)");
  }
};

}  // namespace strata
