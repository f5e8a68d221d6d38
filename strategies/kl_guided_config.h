// `kl_guided`: units scored by KL(full attention ‖ hybrid), one toggled at a time. The selection
// signal of KL-LS (arXiv 2512.20569) without its distillation, hence not its name.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/config/fields.h"
#include "strategies/nll_guided_config.h"

namespace strata {

enum class KlPositions { kAnswer, kBeyondWindow };

namespace config {
template <>
struct EnumTable<KlPositions> {
  static constexpr std::array<std::pair<KlPositions, std::string_view>, 2> kNames{
      {{KlPositions::kAnswer, "answer"}, {KlPositions::kBeyondWindow, "beyond_window"}}};
};
}  // namespace config

struct KlGuidedConfig {
  static constexpr std::string_view kName = "kl_guided";
  static constexpr std::string_view kHelp =
      "KL divergence from full attention with one unit toggled (KL-LS's signal, arXiv 2512.20569, "
      "without distillation)";
  NllMode mode = NllMode::kRestore;
  KlPositions positions = KlPositions::kAnswer;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mode", self.mode,
          "restore: one unit full among windowed ones (KL-LS); ablate: one windowed among full "
          "ones");
    visit("positions", self.positions,
          "where distributions are compared (inferred): answer; beyond_window: every position of "
          "the prompt from the window on (linear attention: every one), which needs no answers and "
          "two rows of logits a position");
    visit("reuse", self.reuse, "as nll_guided's");
    visit("reuse_mib", self.reuse_mib, "as nll_guided's", config::at_least(0));
  }
};

}  // namespace strata
