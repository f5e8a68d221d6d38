// `attention_mass`: retrieval heads by how much a late query of the prompt attends to the needle's
// tokens under full attention (rethinking-hybrid-attention, src/tracing/find_retrieval_heads.py).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class MassReduction { kMean, kMax };

namespace config {
template <>
struct EnumTable<MassReduction> {
  static constexpr std::array<std::pair<MassReduction, std::string_view>, 2> kNames{
      {{MassReduction::kMean, "mean"}, {MassReduction::kMax, "max"}}};
};
}  // namespace config

struct AttentionMassConfig {
  static constexpr std::string_view kName = "attention_mass";
  static constexpr std::string_view kHelp =
      "attention mass on needle tokens under full attention; supervised by where the needles are";
  std::int64_t query_from_end = 2;
  std::int64_t max_samples = 200;
  MassReduction reduce = MassReduction::kMean;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("query_from_end", self.query_from_end,
          "which token of the prompt asks: 1 = the last, 2 = the one before it (released code)",
          config::at_least(1));
    visit("max_samples", self.max_samples, "calibration samples used at most (released code)",
          config::at_least(1));
    visit("reduce", self.reduce,
          "of query heads to a KV head or layer, which the source does not rank: mean, or max "
          "(both inferred)");
  }
};

}  // namespace strata
