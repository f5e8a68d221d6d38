// The arithmetic of `halo_ratio` (HALO, arXiv 2601.22156), apart from the model. Pure functions.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "core/result.h"

namespace strata {

// s_i = min(cap, (max_j R_j − R_i) / (max_j C_j − C_i + ε)); R, C: [unit], of the model with that
// unit windowed. The unit of the best C has denominator ε whatever it does: the method's artefact.
struct HaloRatios {
  std::vector<double> numerator, denominator, score;
  std::size_t epsilon_unit = 0;
};
HaloRatios halo_ratios(const std::vector<double>& recall, const std::vector<double>& commonsense,
                       double eps, double cap = std::numeric_limits<double>::infinity());

// How well a metric tells the units apart. rows[sample][unit].
struct Spread {
  double deviation = 0;       // standard deviation of the units' means
  double standard_error = 0;  // root mean square of the units' errors against the mean of all units
};
Spread spread_over_units(const std::vector<std::vector<double>>& rows);

// Refuses a denominator that is noise: a spread below 3 standard errors.
Status check_spread(const std::vector<std::vector<double>>& rows);

}  // namespace strata
