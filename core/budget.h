// Budget: how many units keep full attention.
//
// The budget is a share of full-attention KV cells. K at layer granularity is max(1, ⌊f·L + 1e-9⌋);
// at finer granularity K is that many layers' worth of units, so that tables across granularities
// match. `units` overrides the fraction.
#pragma once

#include <cstdint>
#include <optional>

#include "core/mask.h"
#include "core/result.h"

namespace strata {

enum class Rounding { kFloor, kNearest, kCeiling };
enum class BudgetMode { kExact, kAtMost };  // at_most drops units whose gain is ≤ 0

struct Budget {
  double fraction = 0.25;
  std::optional<std::int64_t> units;
  Rounding rounding = Rounding::kFloor;
  BudgetMode mode = BudgetMode::kExact;
};

// Units to keep. Errors: a fraction outside (0, 1]; more units than the model has, or fewer than 1.
Result<std::size_t> units_to_keep(const Budget& budget, const HeadLayout& layout,
                                  Granularity granularity);

}  // namespace strata
