// `gate_path`: gates of all units move together towards a set of K, by gradients; a few swaps check
// the end.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/config/fields.h"

namespace strata {

struct GatePathConfig {
  static constexpr std::string_view kName = "gate_path";
  static constexpr std::string_view kHelp =
      "gates follow the gradient of answer NLL from K/units each to a set of K; swaps refine it";
  int rounds = 3;
  std::optional<double> start;
  double temperature = 1.0;
  double prompts = 0.25;
  int swap_rounds = 2;
  int swap_candidates = 3;
  int swap_stages = 3;
  std::optional<std::int64_t> activation_mib;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("rounds", self.rounds, "gradients, each at the gates that the one before led to",
          config::at_least(1));
    visit("start", self.start, "of every gate; null = K / units", config::between(0, 1));
    visit("temperature", self.temperature,
          "of the first round's gates, in standard deviations of the slopes; halved every round",
          config::above(0));
    visit("prompts", self.prompts,
          "share of the calibration prompts that a gradient round looks at, others each round",
          config::between(0.01, 1));
    visit("swap_rounds", self.swap_rounds, "rounds of swaps at the chosen set; 0 = none",
          config::at_least(0));
    visit("swap_candidates", self.swap_candidates,
          "weakest kept and strongest dropped units that are tried against each other",
          config::at_least(1));
    visit("swap_stages", self.swap_stages,
          "successive halving of the swaps: all on few prompts, the better half on more; 1 = all "
          "on all",
          config::at_least(1));
    visit("activation_mib", self.activation_mib,
          "memory for activations, MiB; null = 4096 on a CPU, half of what weights leave of a GPU. "
          "What does not fit is computed a second time",
          config::at_least(0));
  }
};

}  // namespace strata
