// The regression behind `mask_regression`: what each unit, and each pair of the strongest ones, is
// worth in random sets of one size. Pure: observations in, effects out.
//
// Model: −NLL of mask m in block b = a_b + Σ_u g_u x_u + Σ_{u<v of the strongest} h_uv (x_u −
// p)(x_v − p), with x the kept units, p = K / units, and a_b the level of the prompts that a
// block's masks share, which is removed exactly. The g and the h have a ridge penalty each, chosen
// on a grid by the leave-one-out error (closed form, refitting the a_b): first that of the g alone,
// then that of the h beside them; no h where none lowers the error. As every set has K units, the g
// are known up to a constant: they sum to zero.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace strata {

struct MaskObservation {
  std::vector<std::size_t> kept;  // units, as many in every observation
  std::size_t block = 0;          // below the number of blocks; at least 4 observations each
  double nll = 0;                 // mean over the block's prompts, nats
};

struct PairGain {
  std::size_t a = 0;
  std::size_t b = 0;
  double gain = 0;  // of keeping both, beyond the sum of either
};

struct MaskRegression {
  std::vector<double> gains;            // nats saved by keeping a unit, beyond the mean unit's
  std::vector<double> standard_errors;  // of the ridge estimates; their bias is not in it
  // [mask][unit]: the gains are Σ weights · −NLL, at the penalties chosen; of each block they sum
  // to zero.
  std::vector<std::vector<double>> weights;
  std::vector<PairGain> pairs;  // empty where they predict no better
  double share = 0;             // p
  double penalty = 0;
  std::optional<double> pair_penalty;
  double left_out_error = 0;  // mean squared, leave-one-out, at the penalties chosen by it
};

// pair_units: how many of the strongest units (highest gains) get pair terms; 0 or 1 = none.
MaskRegression fit_masks(const std::vector<MaskObservation>& observations, std::size_t units,
                         std::size_t pair_units);

// Share of the variance within blocks that masks left out of a fit are predicted with: five folds,
// each predicted by a fit (penalties and pairs included) on the other four. Nothing where the
// observations of no block differ.
std::optional<double> held_out_r2(const std::vector<MaskObservation>& observations,
                                  std::size_t units, std::size_t pair_units);

// What each sample says of the units, [sample][unit]: the gains and, to first order, how a fit at
// these penalties moves towards the sample as its weight grows (the infinitesimal jackknife). The
// means are the gains, and those of some samples what a fit on them alone would give. Of every
// mask: its samples (below `count`), and their NLL, of which the fit saw the means.
std::vector<std::vector<double>> sample_gains(const MaskRegression& fit,
                                              const std::vector<MaskObservation>& observations,
                                              const std::vector<std::vector<std::size_t>>& samples,
                                              const std::vector<std::vector<double>>& nll,
                                              std::size_t count);

// Nats that a set saves, up to a constant.
double predicted_gain(const MaskRegression& fit, const std::vector<std::size_t>& kept);

// The set of k units of highest predicted gain, exactly: every choice among the units that have
// pair terms, filled up with the best of the others. Ties: the lexicographically lower set.
std::vector<std::size_t> best_set(const MaskRegression& fit, std::size_t k);

}  // namespace strata
