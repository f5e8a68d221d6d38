#include "core/budget.h"

#include <algorithm>
#include <cmath>

namespace strata {

Result<std::size_t> units_to_keep(const Budget& budget, const HeadLayout& layout,
                                  Granularity granularity) {
  const std::int64_t per_layer = layout.units_per_layer(granularity);
  const std::int64_t total = per_layer * layout.layers;
  if (budget.units) {
    if (*budget.units < 1 || *budget.units > total)
      return fail(
          make_error(
              ErrorKind::kInvalidArgument,
              "budget.units is {}; the model has {} units ({} layers × {} at {} granularity)",
              *budget.units, total, layout.layers, per_layer, to_string(granularity))
              .with_hint(fmt::format("give 1 to {}", total)));
    return static_cast<std::size_t>(*budget.units);
  }
  if (!(budget.fraction > 0.0 && budget.fraction <= 1.0))
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "budget.fraction is {}; expected more than 0 and at most 1",
                           budget.fraction)
                    .with_hint("0.25 keeps full attention in a quarter of the layers"));
  // 1e-9: a fraction such as 0.1 · 30 must not fall below its integer by rounding.
  const double exact = budget.fraction * layout.layers;
  double layers = std::floor(exact + 1e-9);
  if (budget.rounding == Rounding::kNearest) layers = std::floor(exact + 0.5 + 1e-9);
  if (budget.rounding == Rounding::kCeiling) layers = std::ceil(exact - 1e-9);
  return static_cast<std::size_t>(std::max<std::int64_t>(1, static_cast<std::int64_t>(layers)) *
                                  per_layer);
}

}  // namespace strata
