// The arithmetic of gate_path, apart from any model.
//
//   g ← (g + σ((s − τ)/T)) / 2,  Σ g = K  (τ by bisection),  T halved every round,
//
// s_u = −∂NLL/∂g_u: all gates move together, so that units which help only jointly open jointly.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace strata {

// σ((s_u − τ)/T) with the τ for which they add up to k; 0 < k ≤ units.
std::vector<double> gates_of_sum(std::span<const double> slopes, double k, double temperature);

// Which samples each round looks at: `share` of them (at least one), in a random order, going on
// where the round before ended.
std::vector<std::vector<std::size_t>> rotating_parts(std::span<const std::size_t> samples,
                                                     double share, int rounds);

}  // namespace strata
