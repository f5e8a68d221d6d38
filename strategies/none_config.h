// `none`: no unit keeps full attention, the floor of every comparison.
#pragma once

#include <string_view>

namespace strata {

struct NoneConfig {
  static constexpr std::string_view kName = "none";
  static constexpr std::string_view kHelp = "no full attention: every layer windowed (the floor)";
  static constexpr bool kUsesBudget = false;
  template <typename Self, typename Visitor>
  static void fields(Self&, Visitor&&) {}
};

}  // namespace strata
