// `light_transfer` (LightTransfer, arXiv 2410.13846): layers whose last queries look least at the
// first and recent tokens.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class LazyAggregation { kMeanRatio, kVotes };
enum class LazyVariant { kFaithful, kReleased };

namespace config {
template <>
struct EnumTable<LazyAggregation> {
  static constexpr std::array<std::pair<LazyAggregation, std::string_view>, 2> kNames{
      {{LazyAggregation::kMeanRatio, "mean_ratio"}, {LazyAggregation::kVotes, "votes"}}};
};
template <>
struct EnumTable<LazyVariant> {
  static constexpr std::array<std::pair<LazyVariant, std::string_view>, 2> kNames{
      {{LazyVariant::kFaithful, "faithful"}, {LazyVariant::kReleased, "released"}}};
};
}  // namespace config

struct LightTransferConfig {
  static constexpr std::string_view kName = "light_transfer";
  static constexpr std::string_view kHelp =
      "least attention mass on sinks and recent tokens, the lazy ratio (arXiv 2410.13846)";
  std::int64_t w_last = 32;
  std::optional<std::int64_t> w_sink;
  std::optional<std::int64_t> w_recent;
  LazyAggregation aggregation = LazyAggregation::kMeanRatio;
  LazyVariant variant = LazyVariant::kFaithful;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("w_last", self.w_last,
          "queries at the end of the prompt (SWAA's code; the paper's text has 64)",
          config::at_least(1));
    visit("w_sink", self.w_sink, "first keys of the ratio; null = mixer.sinks (inferred)",
          config::at_least(0));
    visit("w_recent", self.w_recent,
          "recent keys, the query's own included; null = mixer.window (inferred)",
          config::at_least(1));
    visit("aggregation", self.aggregation,
          "over prompts: mean_ratio; votes: each prompt calls the lazier half of the units lazy "
          "(SWAA's code)");
    visit("variant", self.variant,
          "faithful: prompt queries, keys masked by position; released: SWAA's code, which appends "
          "the gold answer "
          "and counts the sequence's last keys for every query, later ones too (a ratio may exceed "
          "1)");
  }
};

}  // namespace strata
