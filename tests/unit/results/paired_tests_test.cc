// Tests between plans on the same samples, corrections and power, against SciPy and statsmodels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "results/inference.h"
#include "tests/unit/results/statistics_golden.h"

namespace strata {
namespace {

using nlohmann::json;
using strata::testing::golden;
using Numbers = std::vector<double>;

constexpr double kTolerance = 1e-9;

TEST(PairedTests, SignFlipsOfFewValuesAreCountedExactly) {
  ASSERT_GE(golden()["exact_sign_flip"].size(), 10U);
  for (const json& c : golden()["exact_sign_flip"])
    EXPECT_NEAR(sign_flip(c["values"].get<Numbers>()), c["p"].get<double>(), kTolerance) << c;
}

TEST(PairedTests, TwentyClustersAreExactAndDoNotDependOnTheSeed) {
  Numbers values;
  Rng rng(4, "test");
  for (int i = 0; i < 20; ++i) values.push_back(0.4 + rng.normal());
  EXPECT_EQ(cluster_sign_flip(values, {}, {.seed = 1}), cluster_sign_flip(values, {}, {.seed = 2}));
  values.push_back(0.4);
  EXPECT_NE(cluster_sign_flip(values, {}, {.seed = 1}), cluster_sign_flip(values, {}, {.seed = 2}));
}

// Flips are drawn here and counted there: with 20,000 of them p is off by at most 4 standard
// errors.
TEST(PairedTests, AllPairsAgreeWithCountingEveryFlip) {
  ASSERT_FALSE(golden()["max_t"].empty());
  for (const json& c : golden()["max_t"]) {
    const auto p =
        all_pairs_sign_flip(c["sums"].get<std::vector<Numbers>>(), {.flips = 20'000, .seed = 1});
    for (const json& pair : c["p"]) {
      const double expected = pair[2];
      const double found = p[pair[0].get<std::size_t>()][pair[1].get<std::size_t>()];
      EXPECT_NEAR(found, expected, 1e-4 + 4 * std::sqrt(expected * (1 - expected) / 20'000)) << c;
      EXPECT_EQ(found, p[pair[1].get<std::size_t>()][pair[0].get<std::size_t>()]);
    }
  }
}

TEST(PairedTests, EqualSeriesNeverDiffer) {
  const auto p = all_pairs_sign_flip({Numbers(25, 1.0), Numbers(25, 1.0), Numbers(25, 2.0)});
  EXPECT_EQ(p[0][1], 1);
  EXPECT_EQ(p[0][0], 1);
  EXPECT_LT(p[0][2], 0.01);
}

// A copy of a series up to noise must not cost the others their power.
TEST(PairedTests, ANearCopyOfASeriesChangesNoOtherPair) {
  Rng rng(3, "test");
  Numbers a, copy, other;
  for (int k = 0; k < 500; ++k) {
    const double value = 3 + 1.7 * rng.normal();
    a.push_back(value);
    copy.push_back(value + 1e-6 * rng.normal());
    other.push_back(value + 0.2 + rng.normal());
  }
  const double alone = all_pairs_sign_flip({a, other})[0][1];
  const double beside_the_copy = all_pairs_sign_flip({a, other, copy})[0][1];
  EXPECT_LT(alone, 0.02);
  // Three pairs are tested at once, one of them nearly twice.
  EXPECT_LT(beside_the_copy, 3 * alone + 0.002);
}

// Six equal selectors: in at most 5 % of the tables may any pair be called different.
TEST(PairedTests, AllPairsKeepTheErrorRateOfTheWholeTable) {
  constexpr int kTables = 300;
  Rng rng(21, "test");
  int wrong = 0;
  for (int table = 0; table < kTables; ++table) {
    std::vector<Numbers> sums(6);
    for (int k = 0; k < 24; ++k) {
      const double hard = 3 * rng.normal();  // for all of them
      for (Numbers& series : sums) series.push_back(hard + rng.normal());
    }
    const auto p =
        all_pairs_sign_flip(sums, {.flips = 399, .seed = static_cast<std::uint64_t>(table)});
    bool any = false;
    for (const Numbers& row : p)
      any |= std::any_of(row.begin(), row.end(), [](double value) { return value < 0.05; });
    wrong += any ? 1 : 0;
  }
  // .05 + 3 standard errors of .0126
  EXPECT_LT(wrong, 0.088 * kTables);
  EXPECT_GT(wrong, 0.01 * kTables);
}

TEST(PairedTests, PairedTTestsEqualThoseOfScipy) {
  ASSERT_FALSE(golden()["paired_t"].empty());
  for (const json& c : golden()["paired_t"]) {
    const auto p = paired_t_test(c["a"].get<Numbers>(), c["b"].get<Numbers>());
    ASSERT_TRUE(p) << c["name"];
    EXPECT_NEAR(*p, c["p"].get<double>(), kTolerance) << c["name"];
  }
  EXPECT_FALSE(paired_t_test(Numbers{1}, Numbers{0}));
  EXPECT_EQ(paired_t_test(Numbers{1, 2}, Numbers{1, 2}), 1);
  EXPECT_EQ(paired_t_test(Numbers{1, 2}, Numbers{0, 1}), 0);
}

TEST(PairedTests, BenjaminiHochbergEqualsStatsmodels) {
  ASSERT_FALSE(golden()["benjamini_hochberg"].empty());
  for (const json& c : golden()["benjamini_hochberg"])
    EXPECT_THAT(
        benjamini_hochberg(c["p"].get<Numbers>()),
        ::testing::Pointwise(::testing::DoubleNear(kTolerance), c["adjusted"].get<Numbers>()))
        << c;
  EXPECT_EQ(benjamini_hochberg(Numbers{0.01, 0.02}, 4), (Numbers{0.04, 0.04}));
}

TEST(PairedTests, DetectableDifferencesEqualThoseOfStatsmodels) {
  ASSERT_EQ(golden()["detectable"].size(), 24U);
  for (const json& c : golden()["detectable"]) {
    const double expected = c["difference"];
    EXPECT_NEAR(minimum_detectable_difference(c["sd"], c["n"], 0.05, c["power"]), expected,
                1e-4 * expected)
        << c;
  }
}

// As in Statistics.BootstrapIntervalsAgreeWithScipy; values are multiples of 1 / n, so bounds step.
TEST(PairedTests, SharesOfClusteredAnswersAgreeWithScipysBootstrap) {
  for (const json& c : golden()["cluster_mean"]) {
    const auto values = c["values"].get<Numbers>();
    const auto clusters = c["clusters"].get<std::vector<std::size_t>>();
    const Estimate share = share_estimate(values, {.clusters = clusters});
    EXPECT_NEAR(share.value, c["mean"].get<double>(), kTolerance);
    const double slack =
        0.15 * c["standard_error"].get<double>() + 0.5 / static_cast<double>(values.size());
    EXPECT_NEAR(share.interval->low, c["interval"][0].get<double>(), slack);
    EXPECT_NEAR(share.interval->high, c["interval"][1].get<double>(), slack);
  }
}

TEST(PairedTests, SharesOfIndependentAnswersAreWilsons) {
  const Numbers values = {1, 1, 0, 1};
  const std::vector<std::size_t> own = {0, 1, 2, 3};
  EXPECT_EQ(share_estimate(values, {.clusters = own}).interval, wilson_interval(3, 4));
  EXPECT_EQ(share_estimate(values, {}).interval, wilson_interval(3, 4));
  EXPECT_EQ(share_estimate(Numbers(5, 0.0), {}).interval, wilson_interval(0, 5));
  EXPECT_EQ(share_estimate(Numbers{0.45, 0.5, 0.55}, {}).interval,
            t_estimate(Numbers{0.45, 0.5, 0.55}).interval);
  EXPECT_EQ(share_estimate(Numbers{0.25, 0.75}, {}).interval, (Interval{0, 1})) << "a share ends";
  const std::vector<std::size_t> one = {0, 0, 0, 0};
  EXPECT_FALSE(share_estimate(values, {.clusters = one}).interval);
}

TEST(PairedTests, SharesThatNeverVaryAreWilsonsOverTheClusters) {
  const std::vector<std::size_t> pairs = {0, 0, 1, 1, 2, 2};
  EXPECT_EQ(share_estimate(Numbers(6, 1.0), {.clusters = pairs}).interval, wilson_interval(3, 3));
  EXPECT_EQ(share_estimate(Numbers(6, 0.0), {.clusters = pairs}).interval, wilson_interval(0, 3));
  const std::vector<std::size_t> one(6, 0);
  EXPECT_FALSE(share_estimate(Numbers(6, 1.0), {.clusters = one}).interval);
}

TEST(PairedTests, DrawsThatAreSharedGiveTheSameInterval) {
  const Numbers values = {1, 2, 4, 8, 16, 3};
  const std::vector<std::size_t> clusters = {0, 1, 1, 2, 3, 3};
  const ClusterDraws draws(4, 700, 9);
  EXPECT_EQ(
      cluster_bootstrap(values, {.draws = 700, .seed = 9, .clusters = clusters}).interval,
      cluster_bootstrap(values, {.draws = 700, .seed = 9, .clusters = clusters, .drawn = &draws})
          .interval);
}

}  // namespace
}  // namespace strata
