// The hard-concrete gate (Louizos, Welling and Kingma, ICLR 2018), as ConSA uses it, and the
// targets that clamped masks can reach.
//
//   s = σ((ln u − ln(1 − u) + logα)/β),  z = clip(s(ζ − γ) + γ, 0, 1),  u uniform
//   P(z > 0) = σ(logα − β ln(−γ/ζ))
//
// z = 1: full attention. Pure functions.
#pragma once

namespace strata {

struct HardConcrete {
  double beta = 2.0 / 3.0, gamma = -0.1, zeta = 1.1;
  double clamp = 4.605170185988092;  // |logα| ≤ ln 100

  struct Draw {
    double z = 0;
    double slope = 0;  // ∂z/∂logα
  };
  Draw draw(double log_alpha, double u) const;            // 0 < u < 1
  double open_probability(double log_alpha) const;        // P(z > 0)
  double open_probability_slope(double log_alpha) const;  // its derivative
  // The rounded mask's order: σ(0.8 logα/β).
  double score(double log_alpha) const;
  // Share of windowed units that is reached where `kept` of `units` sit at the upper clamp and the
  // others at the lower: what the expected sparsity can and should become.
  double reachable_sparsity(double kept, double units) const;
};

}  // namespace strata
