// `full`: every unit keeps full attention, the ceiling of every comparison.
#pragma once

#include <string_view>

namespace strata {

struct FullConfig {
  static constexpr std::string_view kName = "full";
  static constexpr std::string_view kHelp = "full attention everywhere (the ceiling)";
  static constexpr bool kUsesBudget = false;
  template <typename Self, typename Visitor>
  static void fields(Self&, Visitor&&) {}
};

}  // namespace strata
