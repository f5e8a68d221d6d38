#include "strategies/mean_error.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "core/result.h"

namespace strata {

MeanError mean_error(std::span<const double> values) {
  STRATA_CHECK(!values.empty());
  const auto n = static_cast<double>(values.size());
  MeanError out{std::accumulate(values.begin(), values.end(), 0.0) / n,
                std::numeric_limits<double>::quiet_NaN()};
  double squares = 0;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  if (values.size() > 1) out.standard_error = std::sqrt(squares / (n - 1) / n);
  return out;
}

}  // namespace strata
