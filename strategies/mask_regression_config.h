// `mask_regression`: what units are worth, by regression over random sets of the size that is asked
// for. Forward passes alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/config/fields.h"

namespace strata {

struct MaskRegressionConfig {
  static constexpr std::string_view kName = "mask_regression";
  static constexpr std::string_view kHelp =
      "answer NLL of random K-sets, regressed on units and pairs of units";
  std::int64_t masks = 64;
  std::int64_t prompts_per_mask = 0;
  std::int64_t pair_units = 8;
  bool reuse = true;
  std::int64_t reuse_mib = 4096;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("masks", self.masks, "random sets of exactly K units that are measured",
          config::between(8, 1024));
    visit("prompts_per_mask", self.prompts_per_mask,
          "calibration prompts of each mask; masks that share their prompts are a block, of at "
          "least 4; 0 = an eighth of the prompts, rounded up, so that 64 masks cost 8 passes",
          config::at_least(0));
    visit("pair_units", self.pair_units,
          "strongest units between which pair terms are fitted; 0 = none", config::between(0, 12));
  }
};

}  // namespace strata
