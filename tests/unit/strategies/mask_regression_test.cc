// mask_regression: its fit against normal equations solved by hand and against planted effects, and
// the whole of it on a small random model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/rng.h"
#include "strategies/mask_regression_fit.h"
#include "tests/unit/strategies/tiny_problem.h"

namespace strata {
namespace {

using testing::kLayers, testing::kSamples;
using Matrix = std::vector<std::vector<double>>;

// Gaussian elimination with pivoting.
std::vector<double> solved(Matrix a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t col = 0; col < n; ++col) {
    std::size_t pivot = col;
    for (std::size_t row = col; row < n; ++row)
      if (std::abs(a[row][col]) > std::abs(a[pivot][col])) pivot = row;
    std::swap(a[col], a[pivot]);
    std::swap(b[col], b[pivot]);
    for (std::size_t row = 0; row < n; ++row) {
      if (row == col) continue;
      const double factor = a[row][col] / a[col][col];
      for (std::size_t i = col; i < n; ++i) a[row][i] -= factor * a[col][i];
      b[row] -= factor * b[col];
    }
  }
  for (std::size_t i = 0; i < n; ++i) b[i] /= a[i][i];
  return b;
}

struct Problem {
  std::size_t units = 0, blocks = 0;
  std::vector<MaskObservation> observations;
};

// Random sets of k units in blocks with levels of their own.
Problem problem(std::size_t units, std::size_t k, std::size_t masks, std::size_t blocks,
                const std::function<double(const std::vector<std::size_t>&)>& nll, double noise,
                std::uint64_t seed = 1) {
  Rng rng(seed, "planted");
  Problem out{units, blocks, {}};
  for (std::size_t m = 0; m < masks; ++m) {
    std::vector<std::size_t> kept = rng.sample(units, k);
    std::sort(kept.begin(), kept.end());
    const double level = 3.0 * static_cast<double>(m % blocks);
    out.observations.push_back({kept, m % blocks, nll(kept) + level + noise * rng.normal()});
  }
  return out;
}

bool has(const std::vector<std::size_t>& kept, std::size_t unit) {
  return std::find(kept.begin(), kept.end(), unit) != kept.end();
}

// The columns of a fit as its header says them: units, pairs, blocks.
std::vector<double> row_of(const Problem& problem, const MaskRegression& fit, std::size_t m) {
  const MaskObservation& here = problem.observations[m];
  std::vector<double> row;
  for (std::size_t unit = 0; unit < problem.units; ++unit) row.push_back(has(here.kept, unit));
  for (const PairGain& pair : fit.pairs)
    row.push_back((has(here.kept, pair.a) - fit.share) * (has(here.kept, pair.b) - fit.share));
  for (std::size_t block = 0; block < problem.blocks; ++block) row.push_back(here.block == block);
  return row;
}

// Penalised normal equations over all rows but one.
std::vector<double> refit(const Problem& problem, const MaskRegression& fit, std::size_t without) {
  const std::size_t features = row_of(problem, fit, 0).size();
  Matrix normal(features, std::vector<double>(features));
  std::vector<double> right(features);
  for (std::size_t i = 0; i < problem.units; ++i) normal[i][i] = fit.penalty;
  for (std::size_t i = 0; i < fit.pairs.size(); ++i)
    normal[problem.units + i][problem.units + i] = *fit.pair_penalty;
  for (std::size_t m = 0; m < problem.observations.size(); ++m) {
    if (m == without) continue;
    const std::vector<double> row = row_of(problem, fit, m);
    for (std::size_t i = 0; i < features; ++i) {
      right[i] += row[i] * -problem.observations[m].nll;
      for (std::size_t j = 0; j < features; ++j) normal[i][j] += row[i] * row[j];
    }
  }
  return solved(normal, right);
}

constexpr std::size_t kNone = ~std::size_t{0};

double pair_nll(const std::vector<std::size_t>& kept) {
  return -(has(kept, 2) ? 0.5 : 0.0) - (has(kept, 7) ? 0.4 : 0.0) -
         (has(kept, 1) && has(kept, 7) ? 1.5 : 0.0);
}

TEST(MaskRegressionFitTest, EffectsAndLeftOutErrorAreThoseOfTheNormalEquations) {
  const Problem planted = problem(10, 4, 40, 3, pair_nll, 0.3);
  for (const std::size_t pair_units : {0U, 4U}) {
    const MaskRegression fit = fit_masks(planted.observations, 10, pair_units);
    EXPECT_EQ(fit.pairs.size(), pair_units == 0 ? 0U : 6U);
    const std::vector<double> effects = refit(planted, fit, kNone);
    double sum = 0;
    for (std::size_t unit = 0; unit < 10; ++unit) {
      EXPECT_NEAR(fit.gains[unit], effects[unit], 1e-9);
      sum += fit.gains[unit];
    }
    EXPECT_NEAR(sum, 0, 1e-9);
    for (std::size_t i = 0; i < fit.pairs.size(); ++i)
      EXPECT_NEAR(fit.pairs[i].gain, effects[10 + i], 1e-9);
    double error = 0;
    for (std::size_t m = 0; m < planted.observations.size(); ++m) {
      const std::vector<double> row = row_of(planted, fit, m), left_out = refit(planted, fit, m);
      double predicted = 0;
      for (std::size_t i = 0; i < row.size(); ++i) predicted += row[i] * left_out[i];
      error += std::pow(-planted.observations[m].nll - predicted, 2) / 40;
    }
    EXPECT_NEAR(fit.left_out_error, error, 1e-9);
  }
}

// Least squares over (mask, sample) rows, each weighted by its sample, a level for each sample; the
// units' effects.
std::vector<double> weighted_fit(const Problem& problem, const MaskRegression& fit,
                                 const std::vector<std::vector<std::size_t>>& samples,
                                 const std::vector<std::vector<double>>& nll,
                                 const std::vector<double>& weights) {
  const std::size_t features = problem.units + fit.pairs.size();
  const std::size_t all = features + weights.size();
  double mean_weight = 0;
  for (const double weight : weights) mean_weight += weight / static_cast<double>(weights.size());
  Matrix normal(all, std::vector<double>(all));
  std::vector<double> right(all);
  for (std::size_t i = 0; i < features; ++i)
    normal[i][i] = mean_weight * (i < problem.units ? fit.penalty : *fit.pair_penalty);
  for (std::size_t m = 0; m < problem.observations.size(); ++m)
    for (std::size_t s = 0; s < samples[m].size(); ++s) {
      std::vector<double> row = row_of(problem, fit, m);
      row.resize(features);
      row.resize(all);
      row[features + samples[m][s]] = 1;
      const double weight = weights[samples[m][s]] / static_cast<double>(samples[m].size());
      for (std::size_t i = 0; i < all; ++i) {
        right[i] += weight * row[i] * -nll[m][s];
        for (std::size_t j = 0; j < all; ++j) normal[i][j] += weight * row[i] * row[j];
      }
    }
  std::vector<double> effects = solved(normal, right);
  effects.resize(problem.units);
  return effects;
}

TEST(MaskRegressionFitTest, ASamplesGainsAreWhereAFitMovesAsItsWeightGrows) {
  constexpr std::size_t kSamplesOfABlock = 3, kBlocks = 2, kAll = 6;
  Problem planted = problem(8, 3, 40, kBlocks, pair_nll, 0.0);
  Rng rng(3, "samples");
  std::vector<std::vector<std::size_t>> samples;
  std::vector<std::vector<double>> nll;
  for (MaskObservation& here : planted.observations) {
    samples.emplace_back();
    nll.emplace_back();
    double mean = 0;
    for (std::size_t i = 0; i < kSamplesOfABlock; ++i) {
      samples.back().push_back(here.block * kSamplesOfABlock + i);
      nll.back().push_back(here.nll * (1 + 0.2 * static_cast<double>(i)) + 0.1 * rng.normal());
      mean += nll.back().back() / kSamplesOfABlock;
    }
    here.nll = mean;
  }
  for (const std::size_t pair_units : {0U, 4U}) {
    const MaskRegression fit = fit_masks(planted.observations, 8, pair_units);
    ASSERT_EQ(fit.pairs.empty(), pair_units == 0);
    const std::vector<std::vector<double>> gains =
        sample_gains(fit, planted.observations, samples, nll, kAll);
    const auto at = [&](std::size_t sample, double change) {
      std::vector<double> weights(kAll, 1.0);
      weights[sample] += change;
      return weighted_fit(planted, fit, samples, nll, weights);
    };
    std::vector<double> mean(8);
    constexpr double kStep = 1e-4;
    for (std::size_t sample = 0; sample < kAll; ++sample) {
      const std::vector<double> more = at(sample, kStep), less = at(sample, -kStep);
      for (std::size_t unit = 0; unit < 8; ++unit) {
        const double slope = (more[unit] - less[unit]) / (2 * kStep);
        EXPECT_NEAR(gains[sample][unit], fit.gains[unit] + kAll * slope, 1e-6);
        mean[unit] += gains[sample][unit] / kAll;
      }
    }
    for (std::size_t unit = 0; unit < 8; ++unit) EXPECT_NEAR(mean[unit], fit.gains[unit], 1e-12);
  }
}

TEST(MaskRegressionFitTest, StandardErrorsAreTheSpreadOverRepetitions) {
  // Effects near zero under little noise, so that the penalty varies little; 200 repetitions know a
  // spread to 5 %.
  constexpr int kTimes = 200;
  const auto nll = [](const std::vector<std::size_t>& kept) {
    return -(has(kept, 0) ? 1.0 : 0.0) - (has(kept, 3) ? 0.5 : 0.0);
  };
  std::vector<double> sum(8), squares(8), stated(8);
  for (std::uint64_t time = 0; time < kTimes; ++time) {
    Problem planted = problem(8, 3, 64, 2, nll, 0.0);  // the same sets each time
    Rng rng(time, "noise");
    for (MaskObservation& here : planted.observations) here.nll += 0.2 * rng.normal();
    const MaskRegression fit = fit_masks(planted.observations, 8, 0);
    for (std::size_t unit = 0; unit < 8; ++unit) {
      sum[unit] += fit.gains[unit];
      squares[unit] += fit.gains[unit] * fit.gains[unit];
      stated[unit] += fit.standard_errors[unit] / kTimes;
    }
  }
  for (std::size_t unit = 0; unit < 8; ++unit) {
    const double mean = sum[unit] / kTimes;
    const double spread = std::sqrt((squares[unit] / kTimes - mean * mean) * kTimes / (kTimes - 1));
    EXPECT_NEAR(stated[unit] / spread, 1.0, 0.2) << unit;
  }
}

TEST(MaskRegressionFitTest, RecoversPlantedUnitsAndOnePair) {
  // The pair is worth more than unit 2, but its units stand behind it alone.
  const Problem planted = problem(16, 4, 200, 4, pair_nll, 0.05);
  const MaskRegression fit = fit_masks(planted.observations, 16, 8);
  const auto pair = std::max_element(
      fit.pairs.begin(), fit.pairs.end(),
      [](const PairGain& a, const PairGain& b) { return std::abs(a.gain) < std::abs(b.gain); });
  ASSERT_NE(pair, fit.pairs.end());
  EXPECT_EQ(pair->a, 1u);
  EXPECT_EQ(pair->b, 7u);
  EXPECT_NEAR(pair->gain, 1.5, 0.15);
  for (const PairGain& other : fit.pairs) {
    if (&other == &*pair) continue;
    EXPECT_LT(std::abs(other.gain), 0.2);
  }
  // A unit's gain holds where others are kept at the rate of a quarter; of two, beyond the mean.
  EXPECT_NEAR(fit.gains[2] - fit.gains[0], 0.5, 0.05);
  EXPECT_NEAR(fit.gains[7] - fit.gains[0], 0.4 + 1.5 / 4, 0.1);
  EXPECT_NEAR(fit.gains[1] - fit.gains[0], 1.5 / 4, 0.1);
  EXPECT_EQ(best_set(fit, 2), (std::vector<std::size_t>{1, 7}));
  EXPECT_GT(*held_out_r2(planted.observations, 16, 8), 0.95);
  EXPECT_LT(*held_out_r2(planted.observations, 16, 0), 0.90);
}

TEST(MaskRegressionFitTest, NoiseIsNotPredictedAndConstantsHaveNoShare) {
  const auto nothing = [](const std::vector<std::size_t>&) { return 0.0; };
  const Problem noise = problem(16, 4, 64, 4, nothing, 1.0);
  EXPECT_LT(*held_out_r2(noise.observations, 16, 8), 0.1);
  const Problem constant = problem(16, 4, 64, 1, nothing, 0.0);
  EXPECT_FALSE(held_out_r2(constant.observations, 16, 8));
  const MaskRegression fit = fit_masks(constant.observations, 16, 8);
  EXPECT_EQ(best_set(fit, 3), (std::vector<std::size_t>{0, 1, 2}));  // ties: the lower
  EXPECT_TRUE(fit.pairs.empty());
}

TEST(MaskRegressionFitTest, TheBestSetIsThatOfBruteForce) {
  Rng rng(4, "quadratics");
  for (int time = 0; time < 20; ++time) {
    MaskRegression fit{.share = 0.4};
    for (int unit = 0; unit < 10; ++unit) fit.gains.push_back(rng.normal());
    for (const std::size_t a : {1U, 4U, 6U, 9U})
      for (const std::size_t b : {1U, 4U, 6U, 9U})
        if (a < b) fit.pairs.push_back({a, b, 2 * rng.normal()});
    for (const std::size_t k : {1U, 4U, 7U, 10U}) {
      std::vector<std::size_t> best;
      for (unsigned bits = 0; bits < 1024; ++bits) {
        std::vector<std::size_t> set;
        for (std::size_t unit = 0; unit < 10; ++unit)
          if (((bits >> unit) & 1U) != 0) set.push_back(unit);
        if (set.size() != k) continue;
        if (best.empty() || predicted_gain(fit, set) > predicted_gain(fit, best)) best = set;
      }
      EXPECT_EQ(best_set(fit, k), best);
    }
  }
}

class MaskRegressionTest : public testing::TinyProblem {};

TEST_F(MaskRegressionTest, FindsTheBestPairOfASmallModelAtTheStatedCost) {
  Meter meter;
  // All prompts for every mask: ten pairs in 60 draws, main effects and all pair terms.
  const auto selection = select(
      {{"name", "mask_regression"}, {"masks", 60}, {"prompts_per_mask", 3}, {"pair_units", 5}},
      &meter);
  ASSERT_TRUE(selection) << selection.error().text();
  EXPECT_EQ(meter.evaluations, 60 * kSamples);
  Mask best = Mask::of_layers(request_.layout, {0, 1});
  for (int a = 0; a < kLayers; ++a)
    for (int b = 0; b < a; ++b)
      if (const Mask pair = Mask::of_layers(request_.layout, {a, b});
          oracle_loss(pair) < oracle_loss(best))
        best = pair;
  EXPECT_EQ(selection->mask, best);
  EXPECT_GT(selection->diagnostics["held_out_r2"].get<double>(), 0.9);
  // What was measured is stored: the fit can be made again from it.
  const nlohmann::json& trials = selection->diagnostics["trials"];
  std::vector<MaskObservation> observations;
  for (std::size_t m = 0; m < 60; ++m) {
    Mask mask(Granularity::kLayer, request_.layout, false);
    for (const std::size_t unit : trials["kept"][m]) mask = mask.with(unit, true);
    double mean = 0;
    for (std::size_t i = 0; i < kSamples; ++i) {
      const Sample& sample = calibration_.samples[trials["prompts"][m][i]];
      EXPECT_NEAR(trials["nll"][m][i].get<double>(), oracle_loss(sample, mask), 1e-6);
      mean += trials["nll"][m][i].get<double>() / kSamples;
    }
    observations.push_back({mask.kept_units(), 0, mean});
  }
  const MaskRegression fit = fit_masks(observations, kLayers, 5);
  const ScoreTensor& tensor = *selection->scores->tensor;
  EXPECT_EQ(tensor.kind, GainKind::kRegression);
  EXPECT_EQ(tensor.samples.size(), static_cast<std::size_t>(kSamples));
  EXPECT_EQ(selection->scores->score, tensor.scores());
  for (std::size_t unit = 0; unit < kLayers; ++unit)
    EXPECT_NEAR(selection->scores->score[unit], fit.gains[unit], 1e-6);
  EXPECT_EQ(selection->scores->score.size(), static_cast<std::size_t>(kLayers));
}

TEST_F(MaskRegressionTest, IsDeterministicForASeedAndAnyNumberOfWorkers) {
  const std::vector<std::pair<std::string, config::Value>> keys = {{"name", "mask_regression"},
                                                                   {"masks", 24}};
  Meter meter;
  const auto first = select(keys, &meter), second = select(keys, nullptr, 3);
  EXPECT_EQ(meter.evaluations, 24);  // an eighth of 3 prompts, rounded up
  EXPECT_EQ(first->diagnostics["blocks"], 3);
  EXPECT_EQ(first->mask, second->mask);
  EXPECT_EQ(first->scores->score, second->scores->score);
  EXPECT_EQ(first->diagnostics, second->diagnostics);
  request_.seed = 1;
  EXPECT_NE(select(keys)->scores->score, first->scores->score);
}

TEST_F(MaskRegressionTest, RefusesWhatItCannotTell) {
  const auto refused = [&](const std::vector<std::pair<std::string, config::Value>>& keys) {
    return select(keys).error().text();
  };
  EXPECT_EQ(refused({{"name", "mask_regression"}, {"prompts_per_mask", 4}}),
            "strategy.prompts_per_mask is 4; expected at most the 3 calibration prompts");
  EXPECT_EQ(refused({{"name", "mask_regression"}, {"masks", 8}}),
            "8 masks on 3 blocks of 1 prompts; expected at least 4 masks a block\n"
            "  hint: raise strategy.prompts_per_mask or strategy.masks");
  request_.budget.mode = BudgetMode::kAtMost;
  EXPECT_NE(refused({{"name", "mask_regression"}}).find("budget.mode is at_most; expected exact"),
            std::string::npos);
}

}  // namespace
}  // namespace strata
