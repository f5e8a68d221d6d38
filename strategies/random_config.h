// `random`: K units drawn uniformly; reported as a distribution over draws.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/config/fields.h"

namespace strata {

struct RandomConfig {
  static constexpr std::string_view kName = "random";
  static constexpr std::string_view kHelp = "K units drawn uniformly (draws=20 makes 20 runs)";
  std::int64_t draws = 1;
  std::int64_t draw = -1;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("draws", self.draws, "how many draws, each a run", config::at_least(1));
    visit("draw", self.draw, "one draw alone, by number; -1 = draws 0 to draws-1",
          config::at_least(-1));
  }
};

}  // namespace strata
