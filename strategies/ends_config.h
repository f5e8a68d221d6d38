// `ends`: the first and last layers, a control that looks at no model.
#pragma once

#include <string_view>

namespace strata {

struct EndsConfig {
  static constexpr std::string_view kName = "ends";
  static constexpr std::string_view kHelp =
      "the first ceil(K/2) and last floor(K/2) layers, whole ones: a control";
  template <typename Self, typename Visitor>
  static void fields(Self&, Visitor&&) {}
};

}  // namespace strata
