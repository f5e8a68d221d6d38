// The fit behind `quadratic_surrogate`. Pure: gates and slopes in, a quadratic out.
//
// f(g) = bᵀg + ½ gᵀHg with H symmetric; Σ_m ‖∇f(g_m) − y_m‖² + λ‖H‖² is least where, of centred
// points, HA + AH + 2λH = C with A = Σ g gᵀ and C = Σ (y gᵀ + g yᵀ): solved exactly in A's
// eigenbasis. H lives in what the points span, so its rank is at most twice their number. λ is
// chosen on a grid by the leave-one-point-out error.
#pragma once

#include <cstddef>
#include <vector>

namespace strata {

struct QuadraticFit {
  std::vector<double> b;               // [units]
  std::vector<std::vector<double>> h;  // [units][units]
  double penalty = 0;
  double slopes_r2 = 0;  // of slopes at points left out, against their mean over the others

  double value(const std::vector<double>& gates) const;
};

// At least 3 points, all of one size.
QuadraticFit fit_quadratic(const std::vector<std::vector<double>>& gates,
                           const std::vector<std::vector<double>>& slopes);

// A set of k units of least value: from greedy and from `starts` random sets, each improved by the
// best swap until none helps. The least of them; not certainly the least of all.
std::vector<std::size_t> least_set(const QuadraticFit& fit, std::size_t k,
                                   const std::vector<std::vector<std::size_t>>& starts);

}  // namespace strata
