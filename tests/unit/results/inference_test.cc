#include "results/inference.h"

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

std::vector<std::size_t> own_clusters(std::size_t n) {
  std::vector<std::size_t> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = i;
  return out;
}

// ---- agreement with SciPy and statsmodels

// Other random flips than SciPy's: with 50,000 and 200,000 of them, p has a standard error of at
// most sqrt(.25 / 40000) = .0025.
TEST(Inference, SignFlipPValuesAgreeWithScipy) {
  ASSERT_FALSE(golden()["sign_flip"].empty());
  for (const json& c : golden()["sign_flip"]) {
    const auto values = c["values"].get<Numbers>();
    const PValue p = cluster_sign_flip(values, {}, {.flips = 50'000});
    ASSERT_TRUE(std::holds_alternative<double>(p));
    const double expected = c["p"];
    EXPECT_NEAR(std::get<double>(p), expected,
                1e-4 + 4 * std::sqrt(expected * (1 - expected) / 40'000))
        << values.size();
  }
}

TEST(Inference, HolmEqualsStatsmodels) {
  ASSERT_FALSE(golden()["holm"].empty());
  for (const json& c : golden()["holm"]) {
    const Numbers adjusted = holm(c["p"].get<Numbers>());
    const auto expected = c["adjusted"].get<Numbers>();
    ASSERT_EQ(adjusted.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(adjusted[i], expected[i], kTolerance) << c;
  }
}

TEST(Inference, EquivalenceTestsEqualThoseOfStatsmodels) {
  ASSERT_FALSE(golden()["equivalence"].empty());
  for (const json& c : golden()["equivalence"]) {
    const auto values = c["values"].get<Numbers>();
    const EquivalenceTest test = equivalence(values, c["margin"]);
    EXPECT_NEAR(*test.p, c["p"].get<double>(), kTolerance) << values.size();
    EXPECT_NEAR(test.interval->low, c["interval"][0].get<double>(), kTolerance) << values.size();
    EXPECT_NEAR(test.interval->high, c["interval"][1].get<double>(), kTolerance) << values.size();
    const double margin = c["margin"];
    const bool within = c["interval"][0] > -margin && c["interval"][1] < margin;
    const bool excludes_zero = c["two_sided"][0] > 0.0 || c["two_sided"][1] < 0.0;
    EXPECT_EQ(test.answer, within          ? Equivalence::kEquivalent
                           : excludes_zero ? Equivalence::kDifferent
                                           : Equivalence::kInconclusive)
        << values.size();
  }
}

// The power there is exact, by integration; ours is the normal approximation, short by about two
// values.
TEST(Inference, EquivalenceNeedsAsManyValuesAsTheExactPowerSays) {
  int compared = 0;
  for (const json& c : golden()["equivalence_power"]) {
    const double power = c["power"];
    if (power < 0.05 || power > 0.99) continue;
    const auto n = static_cast<double>(equivalence_samples(c["sd"], c["margin"], 0.05, power));
    EXPECT_NEAR(n, c["n"].get<double>(), 2 + 0.01 * c["n"].get<double>()) << c;
    ++compared;
  }
  EXPECT_GE(compared, 6);
  // The protocol's example: ±3 points at 10 % discordant pairs.
  EXPECT_EQ(equivalence_samples(std::sqrt(0.1), kPointsMargin), 952U);
}

TEST(Inference, NonInferiorityEqualsScipysOneSidedTest) {
  ASSERT_FALSE(golden()["non_inferiority"].empty());
  for (const json& c : golden()["non_inferiority"]) {
    const auto result = non_inferiority(c["values"].get<Numbers>(), c["margin"]);
    ASSERT_TRUE(std::holds_alternative<NonInferiority>(result));
    const auto& test = std::get<NonInferiority>(result);
    EXPECT_NEAR(test.p, c["p"].get<double>(), kTolerance);
    EXPECT_NEAR(test.upper, c["upper"].get<double>(), kTolerance);
    EXPECT_EQ(test.shown, c["upper"] < c["margin"]);
  }
}

// ---- slow, obvious twins

// Draws as the header says and averages the drawn numbers themselves.
TEST(Inference, SeedBootstrapEqualsResamplingTheNumbers) {
  const std::vector<Numbers> seeds = {{1, 2, 4, 8, 16}, {3, 1, 0, 2, 5}, {-1, 0, 7, 2, 2}};
  const std::vector<std::size_t> clusters = {0, 1, 0, 2, 2};
  const std::vector<Numbers> members = {{0, 2}, {1}, {3, 4}};
  Rng rng(7, "inference.seeds");
  Numbers means;
  for (int draw = 0; draw < 300; ++draw) {
    std::vector<std::size_t> samples;
    for (int k = 0; k < 3; ++k) {
      const Numbers& cluster = members[rng.below(3)];
      for (std::size_t i = 0; i < cluster.size(); ++i)
        samples.push_back(static_cast<std::size_t>(cluster[rng.below(cluster.size())]));
    }
    Numbers drawn;
    for (int s = 0; s < 3; ++s) {
      const Numbers& seed = seeds[rng.below(3)];
      for (const std::size_t sample : samples) drawn.push_back(seed[sample]);
    }
    means.push_back(mean_of(drawn).value);
  }
  const SeedEstimate estimate =
      seed_estimate(seeds, {.draws = 300, .seed = 7, .clusters = clusters});
  ASSERT_TRUE(estimate.bootstrap);
  EXPECT_NEAR(estimate.bootstrap->low, quantile(means, 0.025), kTolerance);
  EXPECT_NEAR(estimate.bootstrap->high, quantile(means, 0.975), kTolerance);
}

TEST(Inference, SignFlipsOfTwentyClustersApproachAllAMillionOfThem) {
  Numbers values;
  std::vector<std::size_t> clusters;
  Numbers sums(20, 0.0);
  Rng rng(3, "test");
  for (std::size_t i = 0; i < 60; ++i) {
    clusters.push_back(i % 20);
    values.push_back(0.25 + rng.normal());
    sums[i % 20] += values.back();
  }
  double observed = 0;
  for (const double sum : sums) observed += sum;
  int as_far = 0;
  for (unsigned signs = 0; signs < 1U << 20U; ++signs) {
    double total = 0;
    for (unsigned k = 0; k < 20; ++k) total += (signs >> k & 1U) != 0 ? sums[k] : -sums[k];
    as_far += std::abs(total) >= std::abs(observed) - 1e-9 ? 1 : 0;
  }
  const double exact = as_far / std::pow(2.0, 20);
  const double p = std::get<double>(cluster_sign_flip(values, clusters, {.flips = 40'000}));
  EXPECT_NEAR(p, exact, 1e-4 + 4 * std::sqrt(exact * (1 - exact) / 40'000));
}

// ---- what the protocol says

TEST(Inference, ATIntervalSpeaksForFewSeedsAndTheBootstrapFromTwentyOn) {
  Rng rng(1, "test");
  std::vector<Numbers> seeds;
  for (std::size_t s = 1; s <= 20; ++s) {
    const double level = rng.normal();
    seeds.push_back({level, level + 1, level + rng.normal()});
    EXPECT_EQ(seed_estimate(seeds, {.draws = 10}).method, s == 1   ? SeedMethod::kNone
                                                          : s < 20 ? SeedMethod::kT
                                                                   : SeedMethod::kBootstrap)
        << s;
  }
  const SeedEstimate many = seed_estimate(seeds, {.draws = 100});
  EXPECT_EQ(many.interval(), many.bootstrap);
  seeds.resize(5);
  const SeedEstimate few = seed_estimate(seeds, {.draws = 100});
  EXPECT_EQ(few.interval(), few.t);
  EXPECT_EQ(few.t, t_estimate(few.seed_means).interval);
  EXPECT_EQ(few.seed_means.size(), 5U);
  seeds.resize(1);
  const SeedEstimate one = seed_estimate(seeds);
  EXPECT_FALSE(one.interval() || one.between_seed_sd || one.t || one.bootstrap);
}

TEST(Inference, BetweenSeedSpreadIsTheStandardDeviationOfTheSeedMeans) {
  const SeedEstimate estimate = seed_estimate({{1, 3}, {4, 4}, {6, 6}}, {.draws = 10});
  EXPECT_DOUBLE_EQ(estimate.value, 4);
  EXPECT_DOUBLE_EQ(*estimate.between_seed_sd, 2);
}

TEST(Inference, FewClustersAreNotTestedAndSaySo) {
  const Numbers values(38, 1.0);
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < values.size(); ++i) clusters.push_back(i / 2);
  EXPECT_EQ(cluster_sign_flip(values, clusters), PValue(InferenceNotSupported{19, 20}));
  EXPECT_TRUE(std::holds_alternative<double>(cluster_sign_flip(values, {})));
  EXPECT_TRUE(std::holds_alternative<InferenceNotSupported>(non_inferiority(Numbers(4, 0.0))));
}

TEST(Inference, DeclaredTestsWithoutAPValueCountInHolm) {
  const Numbers p = {0.01, 0.02};
  EXPECT_EQ(holm(p), (Numbers{0.02, 0.02}));
  EXPECT_EQ(holm(p, 4), (Numbers{0.04, 0.06}));
}

TEST(Inference, EquivalenceAnswersEquivalentDifferentOrInconclusive) {
  Numbers tight, far, wide;
  for (int i = 0; i < 40; ++i) {
    const double sign = i % 2 == 0 ? 1 : -1;
    tight.push_back(0.004 + 0.01 * sign);
    far.push_back(0.05 + 0.01 * sign);
    wide.push_back(0.5 * sign);
  }
  EXPECT_EQ(equivalence(tight, kNllMargin).answer, Equivalence::kEquivalent);
  EXPECT_EQ(equivalence(far, kNllMargin).answer, Equivalence::kDifferent);
  EXPECT_EQ(equivalence(wide, kNllMargin).answer, Equivalence::kInconclusive);
  EXPECT_GT(*equivalence(wide, kNllMargin).n_needed, 5000U);
  EXPECT_EQ(equivalence(Numbers{0.001}, kNllMargin).answer, Equivalence::kInconclusive);
  EXPECT_EQ(equivalence(Numbers(3, 0.0), kNllMargin).answer, Equivalence::kEquivalent);
  EXPECT_EQ(equivalence(Numbers(3, 0.5), kNllMargin).answer, Equivalence::kDifferent);
}

EquivalenceTest of_pairs(std::size_t n, std::size_t discordant) {
  Numbers differences(n, 0.0);
  for (std::size_t i = 0; i < discordant; ++i) differences[i] = i % 2 == 0 ? 1 : -1;
  return equivalence(differences, kPointsMargin, 0.05, 1);
}

TEST(Inference, FewAnswersThatNeverChangedAreNotEquivalent) {
  EXPECT_EQ(of_pairs(64, 0).answer, Equivalence::kInconclusive);
  EXPECT_EQ(of_pairs(2, 0).answer, Equivalence::kInconclusive);
  // (1.645 + 1.282)² (0.03 × 0.97) / 0.03²
  EXPECT_EQ(of_pairs(64, 0).n_needed, 277U);
  EXPECT_EQ(of_pairs(100, 0).answer, Equivalence::kEquivalent);
  EXPECT_EQ(of_pairs(1000, 0).answer, Equivalence::kEquivalent);
  EXPECT_NEAR(static_cast<double>(*of_pairs(1000, 100).n_needed), 952, 2) << "the spread seen";
  EXPECT_EQ(of_pairs(952, 95).answer, Equivalence::kEquivalent);
}

// The worst case: every discordant pair speaks for the same side, and the difference is the margin.
TEST(Inference, EquivalenceOfPairsIsWrongNoMoreOftenThanItSays) {
  for (const std::size_t n : {30U, 64U, 100U, 300U, 950U}) {
    double wrong = 0;
    double probability = std::pow(1 - kPointsMargin, n);  // of `discordant` out of n
    for (std::size_t discordant = 0; discordant < n; ++discordant) {
      Numbers differences(n, 0.0);
      std::fill_n(differences.begin(), discordant, 1.0);
      if (equivalence(differences, kPointsMargin, 0.05, 1).answer != Equivalence::kEquivalent)
        break;
      wrong += probability;
      probability *= static_cast<double>(n - discordant) / static_cast<double>(discordant + 1) *
                     kPointsMargin / (1 - kPointsMargin);
    }
    EXPECT_LT(wrong, 0.055) << n;
  }
}

TEST(Inference, NoDifferenceOfAnswersIsFoundBelowWhatItsOwnVarianceHides) {
  // (1.960 + 0.842)² / 64: eight discordant pairs; McNemar's test takes six.
  EXPECT_NEAR(minimum_detectable_difference(0, 64, 0.05, kPower, 1), 0.12264, 1e-5);
  EXPECT_NEAR(minimum_detectable_difference(1, 64, 0.05, kPower, 1), 0.35020, 1e-5);
}

TEST(Inference, NumbersBeyondAllBoundsGetNoIntervalAndNoTest) {
  Numbers a, b;
  for (int i = 0; i < 30; ++i) {
    a.push_back(i % 2 == 0 ? 1e308 : -1e308);
    b.push_back(-a.back());
  }
  const std::vector<std::size_t> clusters = {0, 0, 1, 1, 2, 2};
  const Numbers six = {1e308, 1e308, -1e308, -1e308, 1e308, 1};
  EXPECT_FALSE(mean_of(a).standard_error);
  EXPECT_FALSE(paired_t_test(a, b));
  EXPECT_FALSE(paired_estimate(a, b, {}).interval);
  EXPECT_FALSE(cluster_bootstrap(six, {.clusters = clusters}).interval);
  EXPECT_FALSE(equivalence(a, kNllMargin).p);
  EXPECT_FALSE(std::get<NonInferiority>(non_inferiority(a)).shown);
  EXPECT_EQ(equivalence_samples(1e300, kNllMargin), 1'000'000'000'000U);
}

// ---- coverage and level, simulated

// A selector's true difference is 0; each seed moves the mean by a normal amount.
TEST(Inference, FiveSeedsAreCoveredByTheTIntervalAndNotByTheBootstrap) {
  constexpr int kSimulations = 4000;
  const Numbers zeros(5, 0.0);
  Rng rng(11, "test");
  int t_covers = 0;
  int bootstrap_covers = 0;
  for (int i = 0; i < kSimulations; ++i) {
    Numbers seeds;
    for (int s = 0; s < 5; ++s) seeds.push_back(rng.normal());
    const Interval t =
        *seed_estimate({{seeds[0]}, {seeds[1]}, {seeds[2]}, {seeds[3]}, {seeds[4]}}, {.draws = 1})
             .interval();
    t_covers += t.low <= 0 && t.high >= 0;
    const Interval bootstrap =
        *paired_bootstrap(seeds, zeros, {.draws = 400, .seed = static_cast<std::uint64_t>(i)})
             .interval;
    bootstrap_covers += bootstrap.low <= 0 && bootstrap.high >= 0;
  }
  EXPECT_GT(t_covers, 0.93 * kSimulations);
  EXPECT_LT(t_covers, 0.97 * kSimulations);
  EXPECT_LT(bootstrap_covers, 0.90 * kSimulations);
}

// Seeds and samples are crossed: a cluster is easy or hard for every seed. Twenty-four of each.
TEST(Inference, TheCrossedBootstrapCoversWhereSeedsShareTheirSamples) {
  constexpr int kSimulations = 300;
  constexpr std::size_t kSeeds = 24, kClusters = 24;
  Rng rng(5, "test");
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < 2 * kClusters; ++i) clusters.push_back(i / 2);
  int covers = 0;
  int seeds_alone_cover = 0;
  for (int i = 0; i < kSimulations; ++i) {
    Numbers cluster_level;
    for (std::size_t k = 0; k < kClusters; ++k) cluster_level.push_back(rng.normal());
    std::vector<Numbers> seeds;
    for (std::size_t s = 0; s < kSeeds; ++s) {
      const double seed_level = rng.normal();
      Numbers values;
      for (const std::size_t cluster : clusters)
        values.push_back(seed_level + cluster_level[cluster] + 0.5 * rng.normal());
      seeds.push_back(std::move(values));
    }
    const SeedEstimate estimate = seed_estimate(
        seeds, {.draws = 300, .seed = static_cast<std::uint64_t>(i), .clusters = clusters});
    const auto holds_zero = [](const Interval& interval) {
      return interval.low <= 0 && interval.high >= 0;
    };
    covers += holds_zero(*estimate.bootstrap);
    seeds_alone_cover += holds_zero(*estimate.t);
  }
  EXPECT_GT(covers, 0.91 * kSimulations);
  EXPECT_LT(covers, 0.99 * kSimulations);
  // The spread of the seed means knows nothing of the samples that all seeds share.
  EXPECT_LT(seeds_alone_cover, 0.90 * kSimulations);
}

TEST(Inference, TheSignFlipTestOfClustersKeepsItsLevelAndOneOfTheirSamplesDoesNot) {
  constexpr int kSimulations = 600;
  Rng rng(9, "test");
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < 150; ++i) clusters.push_back(i / 6);
  int rejected = 0;
  int rejected_by_samples = 0;
  for (int i = 0; i < kSimulations; ++i) {
    Numbers values;
    for (int k = 0; k < 25; ++k) {
      const double level = rng.normal();
      for (int j = 0; j < 6; ++j) values.push_back(level + 0.3 * rng.normal());
    }
    const SignFlipOptions options{.flips = 399, .seed = static_cast<std::uint64_t>(i)};
    rejected += std::get<double>(cluster_sign_flip(values, clusters, options)) <= 0.05;
    rejected_by_samples +=
        std::get<double>(cluster_sign_flip(values, own_clusters(values.size()), options)) <= 0.05;
  }
  // .05 ± 3 standard errors of .009
  EXPECT_GT(rejected, 0.023 * kSimulations);
  EXPECT_LT(rejected, 0.077 * kSimulations);
  EXPECT_GT(rejected_by_samples, 0.25 * kSimulations);
}

}  // namespace
}  // namespace strata
