// Shapes: M masks, B blocks, U units, F features (units, then pairs). All in float64.
#include "strategies/mask_regression_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/result.h"
#include "core/score_tensor.h"

namespace strata {
namespace {

using at::Tensor;

// What all fits of one set of observations share.
struct Design {
  Tensor kept_MU;         // 0 or 1
  Tensor gains_M;         // −NLL, block means removed
  Tensor block_means_MM;  // takes rows to the means of their blocks
  double blocks = 0;
  double share = 0;

  Tensor within(const Tensor& rows) const { return rows - block_means_MM.matmul(rows); }
};

Design design_of(const std::vector<MaskObservation>& observations, std::size_t units) {
  const auto masks = static_cast<std::int64_t>(observations.size());
  Design design{.kept_MU = at::zeros({masks, static_cast<std::int64_t>(units)}, at::kDouble),
                .gains_M = at::zeros({masks}, at::kDouble),
                .block_means_MM = at::zeros({masks, masks}, at::kDouble)};
  auto kept = design.kept_MU.accessor<double, 2>();
  auto gains = design.gains_M.accessor<double, 1>();
  auto same_block = design.block_means_MM.accessor<double, 2>();
  std::set<std::size_t> blocks;
  for (std::int64_t m = 0; m < masks; ++m) {
    const MaskObservation& here = observations[static_cast<std::size_t>(m)];
    for (const std::size_t unit : here.kept) kept[m][static_cast<std::int64_t>(unit)] = 1;
    gains[m] = -here.nll;
    blocks.insert(here.block);
    for (std::int64_t other = 0; other < masks; ++other)
      same_block[m][other] = observations[static_cast<std::size_t>(other)].block == here.block;
  }
  design.block_means_MM /= design.block_means_MM.sum(1, true);
  design.gains_M = design.within(design.gains_M);
  design.blocks = static_cast<double>(blocks.size());
  design.share = static_cast<double>(observations[0].kept.size()) / static_cast<double>(units);
  return design;
}

struct Ridge {
  Tensor effects_F;
  Tensor standard_errors_F;
  Tensor weights_MF;  // effects = weightsᵀ y
  double left_out_error = 0;
};

// Least squares with unit penalty, in the dual: residuals = A y with A = (F Fᵀ + 1)⁻¹, effects = Fᵀ
// A y. Leaving mask m out, its block's mean refitted, its residual is (A y)_m / (A_mm − 1 / masks
// of its block).
Ridge ridge(const Design& design, const Tensor& features_MF) {
  const Tensor gram_MM = features_MF.mm(features_MF.t());
  const Tensor inverse_MM = at::linalg_inv(gram_MM + at::eye(gram_MM.size(0), at::kDouble));
  const Tensor residuals_M = inverse_MM.mv(design.gains_M);
  const Tensor left_out_M =
      residuals_M / (inverse_MM.diagonal() - design.block_means_MM.diagonal());
  const double freedom = inverse_MM.trace().item<double>() - design.blocks;
  const double variance = residuals_M.square().sum().item<double>() / freedom;
  const Tensor weights_MF = inverse_MM.mm(features_MF);
  return {.effects_F = features_MF.t().mv(residuals_M),
          .standard_errors_F = weights_MF.square().sum(0).mul(variance).sqrt(),
          .weights_MF = weights_MF,
          .left_out_error = left_out_M.square().mean().item<double>()};
}

// Penalties to try, the strongest first: multiples of the features' mean squared length.
std::vector<double> penalties(const Tensor& features_MF) {
  const double length = features_MF.square().sum(1).mean().item<double>();
  std::vector<double> grid;
  for (int step = 12; step >= -16; --step)
    grid.push_back((length > 0 ? length : 1.0) * std::pow(10.0, step / 4.0));
  return grid;
}

std::vector<PairGain> pairs_of(const std::vector<double>& gains, std::size_t pair_units) {
  std::vector<std::size_t> strongest = ranked(gains);
  strongest.resize(std::min(strongest.size(), pair_units));
  std::sort(strongest.begin(), strongest.end());
  std::vector<PairGain> pairs;
  for (std::size_t i = 0; i < strongest.size(); ++i)
    for (std::size_t j = i + 1; j < strongest.size(); ++j)
      pairs.push_back({strongest[i], strongest[j], 0});
  return pairs;
}

// (x_u − p)(x_v − p) of each pair, block means removed.
Tensor pair_features(const Design& design, const std::vector<PairGain>& pairs) {
  const Tensor centred_MU = design.kept_MU - design.share;
  std::vector<Tensor> columns;
  columns.reserve(pairs.size());
  for (const PairGain& pair : pairs)
    columns.push_back(centred_MU.select(1, static_cast<std::int64_t>(pair.a)) *
                      centred_MU.select(1, static_cast<std::int64_t>(pair.b)));
  return design.within(at::stack(columns, 1));
}

std::vector<double> values_of(const Tensor& tensor) {
  const Tensor flat = tensor.contiguous();
  const double* data = flat.data_ptr<double>();
  return {data, data + flat.numel()};
}

// Main effects of a fit; its features are the units' over √penalty, and others behind them.
void take_units(MaskRegression& fit, const Ridge& ridge, std::size_t units) {
  const auto count = static_cast<std::int64_t>(units);
  const double scale = 1 / std::sqrt(fit.penalty);
  fit.gains = values_of(ridge.effects_F.slice(0, 0, count) * scale);
  fit.standard_errors = values_of(ridge.standard_errors_F.slice(0, 0, count) * scale);
  fit.weights.clear();
  for (std::int64_t mask = 0; mask < ridge.weights_MF.size(0); ++mask)
    fit.weights.push_back(values_of(ridge.weights_MF[mask].slice(0, 0, count) * scale));
  fit.left_out_error = ridge.left_out_error;
}

void fit_units(MaskRegression& fit, const Design& design, const Tensor& units_MU) {
  std::optional<Ridge> best;
  for (const double penalty : penalties(units_MU)) {
    Ridge here = ridge(design, units_MU / std::sqrt(penalty));
    if (best && !(here.left_out_error < best->left_out_error)) continue;
    best = std::move(here);
    fit.penalty = penalty;
  }
  take_units(fit, *best, static_cast<std::size_t>(units_MU.size(1)));
}

void fit_pairs(MaskRegression& fit, const Design& design, const Tensor& units_MU,
               std::size_t pair_units) {
  std::vector<PairGain> pairs = pairs_of(fit.gains, pair_units);
  if (pairs.empty()) return;
  const Tensor pairs_MF = pair_features(design, pairs);
  std::optional<Ridge> best;
  for (const double penalty : penalties(pairs_MF)) {
    Ridge here = ridge(
        design, at::cat({units_MU / std::sqrt(fit.penalty), pairs_MF / std::sqrt(penalty)}, 1));
    if (!(here.left_out_error < (best ? best->left_out_error : fit.left_out_error))) continue;
    best = std::move(here);
    fit.pair_penalty = penalty;
  }
  if (!best) return;
  const std::vector<double> effects =
      values_of(best->effects_F.slice(0, units_MU.size(1)) / std::sqrt(*fit.pair_penalty));
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].gain = effects[i];
  fit.pairs = std::move(pairs);
  take_units(fit, *best, fit.gains.size());
}

}  // namespace

MaskRegression fit_masks(const std::vector<MaskObservation>& observations, std::size_t units,
                         std::size_t pair_units) {
  STRATA_CHECK(!observations.empty() && units > 0);
  const Design design = design_of(observations, units);
  const Tensor units_MU = design.within(design.kept_MU);
  MaskRegression fit{.share = design.share};
  fit_units(fit, design, units_MU);
  fit_pairs(fit, design, units_MU, pair_units);
  return fit;
}

std::optional<double> held_out_r2(const std::vector<MaskObservation>& observations,
                                  std::size_t units, std::size_t pair_units) {
  constexpr std::size_t kFolds = 5;
  std::vector<std::size_t> fold_of;  // the place within its block, modulo the folds
  std::vector<std::size_t> met;
  for (const MaskObservation& here : observations) {
    if (met.size() <= here.block) met.resize(here.block + 1);
    fold_of.push_back(met[here.block]++ % kFolds);
  }
  double missed = 0, total = 0;
  for (std::size_t fold = 0; fold < kFolds; ++fold) {
    std::vector<MaskObservation> others;
    for (std::size_t m = 0; m < observations.size(); ++m)
      if (fold_of[m] != fold) others.push_back(observations[m]);
    const MaskRegression fit = fit_masks(others, units, pair_units);
    std::vector<double> level(met.size()), mean(met.size()), count(met.size());
    for (const MaskObservation& other : others) {
      level[other.block] += -other.nll - predicted_gain(fit, other.kept);
      mean[other.block] += -other.nll;
      ++count[other.block];
    }
    for (std::size_t m = 0; m < observations.size(); ++m) {
      if (fold_of[m] != fold) continue;
      const MaskObservation& here = observations[m];
      const double n = count[here.block];
      missed += std::pow(-here.nll - level[here.block] / n - predicted_gain(fit, here.kept), 2);
      total += std::pow(-here.nll - mean[here.block] / n, 2);
    }
  }
  if (!(total > 0)) return std::nullopt;
  return 1 - missed / total;
}

std::vector<std::vector<double>> sample_gains(const MaskRegression& fit,
                                              const std::vector<MaskObservation>& observations,
                                              const std::vector<std::vector<std::size_t>>& samples,
                                              const std::vector<std::vector<double>>& nll,
                                              std::size_t count) {
  const std::size_t units = fit.gains.size();
  std::vector<std::vector<double>> moved(count, std::vector<double>(units, 0.0));
  std::vector<double> mean(units, 0.0);
  for (std::size_t m = 0; m < observations.size(); ++m) {
    const double predicted = predicted_gain(fit, observations[m].kept);
    for (std::size_t i = 0; i < samples[m].size(); ++i)
      for (std::size_t unit = 0; unit < units; ++unit) {
        // The level of a sample falls out: weights of a block sum to zero.
        const double part = fit.weights[m][unit] * (-nll[m][i] - predicted) /
                            static_cast<double>(samples[m].size());
        moved[samples[m][i]][unit] += part * static_cast<double>(count);
        mean[unit] += part;
      }
  }
  for (std::vector<double>& sample : moved)
    for (std::size_t unit = 0; unit < units; ++unit) sample[unit] += fit.gains[unit] - mean[unit];
  return moved;
}

double predicted_gain(const MaskRegression& fit, const std::vector<std::size_t>& kept) {
  double gain = 0;
  for (const std::size_t unit : kept) gain += fit.gains[unit];
  const auto centred = [&](std::size_t unit) {
    return (std::find(kept.begin(), kept.end(), unit) != kept.end() ? 1.0 : 0.0) - fit.share;
  };
  for (const PairGain& pair : fit.pairs) gain += pair.gain * centred(pair.a) * centred(pair.b);
  return gain;
}

std::vector<std::size_t> best_set(const MaskRegression& fit, std::size_t k) {
  std::set<std::size_t> in_pairs;
  for (const PairGain& pair : fit.pairs) in_pairs.insert({pair.a, pair.b});
  const std::vector<std::size_t> paired(in_pairs.begin(), in_pairs.end());
  std::vector<std::size_t> others;  // best first
  for (const std::size_t unit : ranked(fit.gains))
    if (!in_pairs.contains(unit)) others.push_back(unit);
  std::vector<std::size_t> best;
  double best_gain = 0;
  for (std::size_t choice = 0; choice < std::size_t{1} << paired.size(); ++choice) {
    std::vector<std::size_t> set;
    for (std::size_t i = 0; i < paired.size(); ++i)
      if (((choice >> i) & 1U) != 0) set.push_back(paired[i]);
    if (set.size() > k || k - set.size() > others.size()) continue;
    const std::size_t missing = k - set.size();
    set.insert(set.end(), others.begin(), others.begin() + static_cast<std::ptrdiff_t>(missing));
    std::sort(set.begin(), set.end());
    const double gain = predicted_gain(fit, set);
    if (!best.empty() && (gain < best_gain || (gain == best_gain && best < set))) continue;
    best = std::move(set);
    best_gain = gain;
  }
  return best;
}

}  // namespace strata
