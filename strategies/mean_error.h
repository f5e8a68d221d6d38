// A mean over independent samples and how certain it is.
#pragma once

#include <span>

namespace strata {

struct MeanError {
  double mean = 0;
  double standard_error = 0;  // NaN for one sample
};
MeanError mean_error(std::span<const double> values);  // not empty

}  // namespace strata
