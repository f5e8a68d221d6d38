#include "results/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "tests/unit/results/statistics_golden.h"

namespace strata {
namespace {

using nlohmann::json;
using strata::testing::golden;
using Numbers = std::vector<double>;

constexpr double kTolerance = 1e-9;

TEST(Statistics, WilsonIntervalsEqualThoseOfStatsmodels) {
  for (const json& c : golden()["wilson"]) {
    const Interval interval = wilson_interval(c["successes"], c["n"], c["confidence"]);
    EXPECT_NEAR(interval.low, c["low"].get<double>(), kTolerance) << c;
    EXPECT_NEAR(interval.high, c["high"].get<double>(), kTolerance) << c;
  }
  EXPECT_EQ(golden()["wilson"].size(), 38U);
}

TEST(Statistics, MeansAndStandardErrorsEqualThoseOfScipy) {
  for (const json& c : golden()["mean"]) {
    const Mean mean = mean_of(c["values"].get<Numbers>());
    EXPECT_NEAR(mean.value, c["mean"].get<double>(), kTolerance) << c["name"];
    ASSERT_EQ(mean.standard_error.has_value(), !c["standard_error"].is_null()) << c["name"];
    if (mean.standard_error) {
      EXPECT_NEAR(*mean.standard_error, c["standard_error"].get<double>(), kTolerance) << c["name"];
    }
  }
}

TEST(Statistics, PairedDifferencesEqualThoseOfScipy) {
  for (const json& c : golden()["paired"]) {
    const Estimate difference = paired_estimate(c["a"].get<Numbers>(), c["b"].get<Numbers>(), {});
    EXPECT_NEAR(difference.value, c["mean"].get<double>(), kTolerance) << c["name"];
    ASSERT_EQ(difference.interval.has_value(), !c["interval"].is_null()) << c["name"];
    if (!difference.interval) continue;
    EXPECT_NEAR(difference.interval->low, c["interval"][0].get<double>(), kTolerance) << c["name"];
    EXPECT_NEAR(difference.interval->high, c["interval"][1].get<double>(), kTolerance) << c["name"];
  }
}

TEST(Statistics, McNemarPValuesEqualThoseOfStatsmodels) {
  for (const json& c : golden()["mcnemar"])
    EXPECT_NEAR(mcnemar_exact(c["only_first"], c["only_second"]), c["p"].get<double>(), kTolerance)
        << c;
}

TEST(Statistics, QuantilesEqualThoseOfNumpy) {
  for (const json& c : golden()["quantile"])
    EXPECT_NEAR(quantile(c["values"].get<Numbers>(), c["q"]), c["value"].get<double>(), kTolerance)
        << c;
}

// SciPy draws other resamples, so a bound may differ by the Monte Carlo error of a 2.5 % quantile:
// with 4,000 draws of about a normal distribution, sqrt(.025 × .975 / 4000) / .058 = 4 % of the
// standard error; 15 % is beyond doubt.
TEST(Statistics, BootstrapIntervalsAgreeWithScipy) {
  for (const json& c : golden()["bootstrap"]) {
    const auto none = c["none"].get<Numbers>();
    const auto plan = c["plan"].get<Numbers>();
    const auto full = c["full"].get<Numbers>();
    const auto gap = gap_closed(none, plan, full, {});
    ASSERT_TRUE(gap && gap->interval);
    EXPECT_NEAR(gap->value, c["gap"].get<double>(), kTolerance);
    const double gap_slack = 0.15 * c["gap_standard_error"].get<double>();
    EXPECT_NEAR(gap->interval->low, c["gap_interval"][0].get<double>(), gap_slack);
    EXPECT_NEAR(gap->interval->high, c["gap_interval"][1].get<double>(), gap_slack);
    const Estimate difference = paired_bootstrap(plan, full, {});
    ASSERT_TRUE(difference.interval);
    const double slack = 0.15 * c["difference_standard_error"].get<double>();
    EXPECT_NEAR(difference.interval->low, c["difference_interval"][0].get<double>(), slack);
    EXPECT_NEAR(difference.interval->high, c["difference_interval"][1].get<double>(), slack);
  }
}

// The slow, obvious twin: draws clusters and averages the values themselves.
TEST(Statistics, ClusterBootstrapEqualsResamplingTheValues) {
  const Numbers a = {1, 2, 4, 8, 16, 32, 64};
  const Numbers b = {0, 1, 0, 1, 0, 1, 0};
  const std::vector<std::size_t> clusters = {0, 1, 0, 2, 2, 3, 1};
  const BootstrapOptions options{.draws = 500, .seed = 3, .clusters = clusters};
  Rng rng(3, "statistics.bootstrap");
  Numbers means;
  for (int draw = 0; draw < 500; ++draw) {
    Numbers drawn;
    for (int k = 0; k < 4; ++k) {
      const std::uint64_t cluster = rng.below(4);
      for (std::size_t i = 0; i < a.size(); ++i)
        if (clusters[i] == cluster) drawn.push_back(a[i] - b[i]);
    }
    means.push_back(mean_of(drawn).value);
  }
  const Estimate estimate = paired_bootstrap(a, b, options);
  EXPECT_NEAR(estimate.interval->low, quantile(means, 0.025), kTolerance);
  EXPECT_NEAR(estimate.interval->high, quantile(means, 0.975), kTolerance);
}

TEST(Statistics, BootstrapOfWholeClustersIsWiderThanOfTheirValues) {
  Numbers values;
  std::vector<std::size_t> clusters;
  Rng rng(1, "test");
  for (std::size_t cluster = 0; cluster < 25; ++cluster) {
    const double level = rng.normal();
    for (int i = 0; i < 8; ++i) {
      values.push_back(level);
      clusters.push_back(cluster);
    }
  }
  const Numbers zeros(values.size(), 0.0);
  const Interval alone = *paired_bootstrap(values, zeros, {}).interval;
  const Interval together = *paired_bootstrap(values, zeros, {.clusters = clusters}).interval;
  EXPECT_GT(together.high - together.low, 2 * (alone.high - alone.low));
}

TEST(Statistics, ReferencesCloseAllAndNothingOfTheGap) {
  const Numbers none = {2.0, 3.0, 2.5};
  const Numbers full = {0.1, 0.2, 0.05};
  EXPECT_DOUBLE_EQ(gap_closed(none, full, full, {})->value, 1);
  EXPECT_DOUBLE_EQ(gap_closed(none, none, full, {})->value, 0);
  EXPECT_EQ(gap_closed(none, full, full, {})->interval, (Interval{1, 1}));
  EXPECT_EQ(gap_closed(none, none, full, {})->interval, (Interval{0, 0}));
}

TEST(Statistics, AGapThatIsNotThereHasNoValueAndAnUnresolvedOneNoInterval) {
  const Numbers one = {1.0, 1.0};
  const Numbers two = {2.0, 2.0};
  EXPECT_FALSE(gap_closed(one, one, one, {}));
  EXPECT_FALSE(gap_closed(one, one, two, {}));
  // Better on the mean, worse on one sample: some resample holds that one only.
  const auto unresolved = gap_closed(Numbers{3.0, 1.0}, Numbers{1.0, 1.0}, Numbers{1.0, 2.0}, {});
  ASSERT_TRUE(unresolved);
  EXPECT_DOUBLE_EQ(unresolved->value, 2);
  EXPECT_FALSE(unresolved->interval);
}

TEST(Statistics, OneSampleHasNoInterval) {
  const Numbers one = {1.5};
  const Numbers zero = {0.0};
  EXPECT_FALSE(mean_of(one).standard_error);
  EXPECT_FALSE(paired_estimate(one, zero, {}).interval);
  EXPECT_FALSE(paired_bootstrap(one, zero, {}).interval);
  EXPECT_FALSE(gap_closed(one, one, zero, {})->interval);
  const std::vector<std::size_t> same_cluster = {0, 0};
  EXPECT_FALSE(paired_bootstrap(Numbers{1, 2}, Numbers{0, 0}, {.clusters = same_cluster}).interval);
}

TEST(Statistics, MeansOfGroupsWeighTheSameAndVaryAsTheirStandardErrorsSay) {
  Rng rng(7, "test.groups");
  ValueGroup wide, narrow;
  for (int i = 0; i < 400; ++i) wide.values.push_back(rng.uniform());
  for (int i = 0; i < 100; ++i) narrow.values.push_back(5 + 0.5 * rng.uniform());
  const Mean a = mean_of(wide.values), b = mean_of(narrow.values);
  const std::vector<ValueGroup> both = {wide, narrow};
  const Estimate mean = mean_of_group_means(both, {.draws = 20000});
  EXPECT_NEAR(mean.value, (a.value + b.value) / 2, 1e-12);
  const double half = 1.96 * std::hypot(*a.standard_error, *b.standard_error) / 2;
  EXPECT_NEAR(mean.interval->high - mean.interval->low, 2 * half, 0.06 * half);
  EXPECT_NEAR(mean.interval->low, mean.value - half, 0.06 * half);
}

TEST(Statistics, MeanOfOneGroupIsItsClusterBootstrap) {
  const ValueGroup group{{1, 0, 0, 1, 1, 0, 0.5}, {0, 0, 1, 1, 2, 3, 3}};
  const Estimate alone = cluster_bootstrap(group.values, {.clusters = group.clusters});
  const Estimate mean = mean_of_group_means(std::vector<ValueGroup>{group}, {});
  EXPECT_NEAR(mean.value, alone.value, 1e-12);
  EXPECT_NEAR(mean.interval->low, alone.interval->low, 1e-12);
  EXPECT_NEAR(mean.interval->high, alone.interval->high, 1e-12);
}

TEST(Statistics, MeanOfGroupsHasNoIntervalWhereNothingVaries) {
  const ValueGroup same{{1, 1, 1}, {}}, one_cluster{{1, 0, 1}, {0, 0, 0}}, varied{{1, 0, 1}, {}};
  const auto interval = [](const std::vector<ValueGroup>& groups) {
    return mean_of_group_means(groups, {}).interval;
  };
  EXPECT_EQ(interval({same, same}), std::nullopt);
  EXPECT_EQ(interval({varied, one_cluster}), std::nullopt);
  EXPECT_TRUE(interval({varied, same}));
}

TEST(Statistics, BootstrapRepeatsForASeedAndDiffersForAnother) {
  const Numbers a = {1, 2, 4, 8, 16};
  const Numbers b = {0, 0, 0, 0, 0};
  EXPECT_EQ(paired_bootstrap(a, b, {.seed = 1}).interval,
            paired_bootstrap(a, b, {.seed = 1}).interval);
  EXPECT_NE(paired_bootstrap(a, b, {.draws = 99, .seed = 1}).interval,
            paired_bootstrap(a, b, {.draws = 99, .seed = 2}).interval);
}

TEST(Statistics, ADistributionIsItsRangeBelowTwentyDrawsAndQuantilesFromThereOn) {
  Numbers values;
  for (int i = 0; i < 19; ++i) values.push_back(i);
  EXPECT_EQ(distribution_of(values).value, 9);
  EXPECT_EQ(distribution_of(values).interval, (Interval{0, 18}));
  values.push_back(19);
  EXPECT_EQ(distribution_of(values).value, 9.5);
  EXPECT_NEAR(distribution_of(values).interval->low, 0.95, kTolerance);
  EXPECT_NEAR(distribution_of(values).interval->high, 18.05, kTolerance);
}

TEST(Statistics, ClustersAreNumberedByNameAndUnnamedOnesStandAlone) {
  const std::vector<std::string> names = {"b", "", "a", "b", ""};
  EXPECT_EQ(cluster_numbers(names), (std::vector<std::size_t>{0, 1, 2, 0, 3}));
}

}  // namespace
}  // namespace strata
