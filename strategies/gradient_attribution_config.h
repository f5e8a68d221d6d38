// `gradient_attribution`: units scored by the gradient of answer NLL in gates, one pass for all of
// them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/fields.h"

namespace strata {

enum class GradientSearcher { kTopK, kGreedy };

namespace config {
template <>
struct EnumTable<GradientSearcher> {
  static constexpr std::array<std::pair<GradientSearcher, std::string_view>, 2> kNames{
      {{GradientSearcher::kTopK, "top_k"}, {GradientSearcher::kGreedy, "greedy"}}};
};
}  // namespace config

struct GradientAttributionConfig {
  static constexpr std::string_view kName = "gradient_attribution";
  static constexpr std::string_view kHelp =
      "gradient of answer NLL in gates between windowed and full attention, all units in one "
      "backward pass";
  std::vector<double> gates{0.5};
  GradientSearcher searcher = GradientSearcher::kTopK;
  std::optional<std::int64_t> activation_mib;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("gates", self.gates,
          "values at which every gate is set in turn (0 = windowed, 1 = full); scores are averaged "
          "over them",
          config::between(0, 1));
    visit(
        "searcher", self.searcher,
        "top_k: the K steepest; greedy: from nothing kept, the steepest gate is opened and all are "
        "differentiated anew, K times (gates is not used)");
    visit("activation_mib", self.activation_mib,
          "memory for activations, MiB; null = 4096 on a CPU, half of what weights leave of a GPU. "
          "What does not fit is computed a second time",
          config::at_least(0));
  }
};

}  // namespace strata
