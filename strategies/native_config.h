// `native`: the hybrid that the checkpoint already is (layer_types and sliding_window of its
// config).
#pragma once

#include <string_view>

namespace strata {

struct NativeConfig {
  static constexpr std::string_view kName = "native";
  static constexpr std::string_view kHelp =
      "the layers and windows of the checkpoint's own config; mixer= and budget= do not matter";
  static constexpr bool kUsesBudget = false;
  template <typename Self, typename Visitor>
  static void fields(Self&, Visitor&&) {}
};

}  // namespace strata
