// `file`: the mask of a plan.json or selection.json.
#pragma once

#include <string>
#include <string_view>

namespace strata {

struct FileConfig {
  static constexpr std::string_view kName = "file";
  static constexpr std::string_view kHelp = "the mask of a plan.json or selection.json";
  static constexpr bool kUsesBudget = false;
  std::string path;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("path", self.path,
          "plan.json or selection.json, as `strata select` writes them, or a trained model's "
          "strata.json");
  }
};

}  // namespace strata
