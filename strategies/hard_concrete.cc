#include "strategies/hard_concrete.h"

#include <algorithm>
#include <cmath>

namespace strata {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

HardConcrete::Draw HardConcrete::draw(double log_alpha, double u) const {
  const double s = sigmoid((std::log(u) - std::log1p(-u) + log_alpha) / beta);
  const double stretched = s * (zeta - gamma) + gamma;
  if (stretched <= 0 || stretched >= 1) return {std::clamp(stretched, 0.0, 1.0), 0.0};
  return {stretched, (zeta - gamma) * s * (1 - s) / beta};
}

double HardConcrete::open_probability(double log_alpha) const {
  return sigmoid(log_alpha - beta * std::log(-gamma / zeta));
}

double HardConcrete::open_probability_slope(double log_alpha) const {
  const double p = open_probability(log_alpha);
  return p * (1 - p);
}

double HardConcrete::score(double log_alpha) const { return sigmoid(0.8 * log_alpha / beta); }

double HardConcrete::reachable_sparsity(double kept, double units) const {
  return 1 - (kept * open_probability(clamp) + (units - kept) * open_probability(-clamp)) / units;
}

}  // namespace strata
