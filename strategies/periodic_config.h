// `periodic`: whole layers at even distances (SWAA, arXiv 2512.10411; Gemma-style hybrids).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"

namespace strata {

enum class PeriodicBy { kBudget, kStride };

namespace config {
template <>
struct EnumTable<PeriodicBy> {
  static constexpr std::array<std::pair<PeriodicBy, std::string_view>, 2> kNames{
      {{PeriodicBy::kBudget, "budget"}, {PeriodicBy::kStride, "stride"}}};
};
}  // namespace config

struct PeriodicConfig {
  static constexpr std::string_view kName = "periodic";
  static constexpr std::string_view kHelp = "layers at even distances, from an offset";
  PeriodicBy by = PeriodicBy::kBudget;
  std::int64_t offset = -1;
  std::int64_t stride = 0;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("by", self.by,
          "budget: exactly K layers, floor(offset + j*L/K); stride: every stride-th, as published, "
          "whose real share "
          "may differ from the budget");
    visit("offset", self.offset,
          "first kept layer: 0 to floor(L/K)-1 (by=budget), 0 to stride-1 (by=stride); -1 = every "
          "offset, each a run",
          config::at_least(-1));
    visit("stride", self.stride, "by=stride: distance of kept layers; 0 = floor(L/K)",
          config::at_least(0));
  }
};

}  // namespace strata
