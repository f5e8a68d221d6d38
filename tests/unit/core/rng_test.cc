#include "core/rng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace strata {
namespace {

TEST(RngTest, PhiloxGivesThePublishedKnownAnswers) {
  // Known-answer vectors of the Random123 distribution (philox4x32-10).
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RngTest, StreamsDependOnSeedAndPurposeAlone) {
  Rng a(1, "x"), again(1, "x"), other_purpose(1, "y"), other_seed(2, "x");
  const std::uint64_t first = a.next_u64();
  EXPECT_EQ(first, again.next_u64());
  EXPECT_NE(first, other_purpose.next_u64());
  EXPECT_NE(first, other_seed.next_u64());
  EXPECT_NE(derive_seed(1, "benchmark"), derive_seed(1, "calibration"));
  EXPECT_LT(derive_seed(1, "benchmark"), std::uint64_t{1} << 53);
}

TEST(RngTest, BelowIsUniform) {
  Rng rng(5, "uniform");
  constexpr int kDraws = 70000, kBound = 7;
  std::array<int, kBound> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts[rng.below(kBound)];
  double chi_squared = 0;
  for (const int count : counts)
    chi_squared += std::pow(count - kDraws / kBound, 2) / (kDraws / kBound);
  EXPECT_LT(chi_squared, 22.5);  // 6 degrees of freedom: exceeded once in 1,000 seeds
}

TEST(RngTest, NormalAndUniformHaveTheirMoments) {
  Rng rng(6, "moments");
  double sum = 0, squares = 0, uniform = 0;
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    sum += x;
    squares += x * x;
    const double u = rng.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    uniform += u;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.03);
  EXPECT_NEAR(uniform / kDraws, 0.5, 0.006);
}

TEST(RngTest, SamplesAreDistinctAndCoverEverything) {
  Rng rng(8, "sample");
  std::vector<int> counts(10);
  for (int i = 0; i < 5000; ++i) {
    const std::vector<std::size_t> drawn = rng.sample(10, 4);
    EXPECT_EQ(std::set<std::size_t>(drawn.begin(), drawn.end()).size(), 4u);
    for (const std::size_t index : drawn) ++counts[index];
  }
  for (const int count : counts) EXPECT_NEAR(count, 2000, 160);
  std::vector<int> shuffled = {1, 2, 3, 4, 5};
  rng.shuffle(shuffled);
  std::sort(shuffled.begin(), shuffled.end());
  EXPECT_EQ(shuffled, (std::vector<int>{1, 2, 3, 4, 5}));
  EXPECT_EQ(rng.between(-3, -3), -3);
}

}  // namespace
}  // namespace strata
