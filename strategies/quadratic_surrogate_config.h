// `quadratic_surrogate`: gradients in gates at several sets give a quadratic of the answer NLL,
// which is minimised over sets of K units.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/config/fields.h"

namespace strata {

struct QuadraticSurrogateConfig {
  static constexpr std::string_view kName = "quadratic_surrogate";
  static constexpr std::string_view kHelp =
      "a quadratic fitted to gradients in gates at random K-sets, minimised over K-sets";
  int masks = 8;
  double prompts = 0.25;
  int held_out = 8;
  std::optional<std::int64_t> activation_mib;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("masks", self.masks,
          "random sets of K units at which gates are differentiated, beside all gates at 0, 0.5 "
          "and 1",
          config::between(2, 256));
    visit("prompts", self.prompts,
          "share of the calibration prompts that each of them looks at, others each time",
          config::between(0.01, 1));
    visit("held_out", self.held_out,
          "random sets that are measured and predicted, for the R2 in the diagnostics; 0 = none",
          config::between(0, 256));
    visit("activation_mib", self.activation_mib,
          "memory for activations, MiB; null = 4096 on a CPU, half of what weights leave of a GPU. "
          "What does not fit is computed a second time",
          config::at_least(0));
  }
};

}  // namespace strata
