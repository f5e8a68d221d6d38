// The arithmetic of gates that are drawn, learned or moved, against closed forms and finite
// differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "strategies/gate_path.h"
#include "strategies/hard_concrete.h"
#include "strategies/learned.h"

namespace strata {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// P(z > t) for 0 ≤ t < 1: u must exceed what the reparameterisation turns into t.
double probability_above(const HardConcrete& gate, double log_alpha, double t) {
  const double s = (t - gate.gamma) / (gate.zeta - gate.gamma);
  return sigmoid(log_alpha - gate.beta * std::log(s / (1 - s)));
}

TEST(HardConcreteTest, DrawsHaveTheStatisticsOfTheDistribution) {
  constexpr int kDraws = 200'000;
  for (const HardConcrete gate :
       {HardConcrete{}, HardConcrete{.beta = 0.4, .gamma = -0.3, .zeta = 1.05}})
    for (const double log_alpha : {-4.6, -1.0, 0.0, 0.7, 4.6}) {
      SCOPED_TRACE(fmt::format("log alpha {}, beta {}", log_alpha, gate.beta));
      Rng rng(1, fmt::format("hard concrete {}", log_alpha));
      double sum = 0;
      int closed = 0, open = 0;
      for (int i = 0; i < kDraws; ++i) {
        const double z = gate.draw(log_alpha, 1e-6 + (1 - 2e-6) * rng.uniform()).z;
        ASSERT_TRUE(z >= 0 && z <= 1);
        sum += z;
        closed += static_cast<int>(z == 0);
        open += static_cast<int>(z == 1);
      }
      const auto expect_share = [](double count, double p) {  // 4 standard errors
        EXPECT_NEAR(count / kDraws, p, 4 * std::sqrt(p * (1 - p) / kDraws) + 1e-5);
      };
      expect_share(closed, 1 - probability_above(gate, log_alpha, 0));
      expect_share(kDraws - closed, gate.open_probability(log_alpha));
      expect_share(open, probability_above(gate, log_alpha, 1));
      // E[z] = ∫₀¹ P(z > t) dt; z lies in [0, 1], so that its deviation is at most ½.
      constexpr int kPoints = 20'000;
      double mean = 0;
      for (int i = 0; i < kPoints; ++i)
        mean += probability_above(gate, log_alpha, (i + 0.5) / kPoints) / kPoints;
      EXPECT_NEAR(sum / kDraws, mean, 4 * std::sqrt(mean * (1 - mean) / kDraws) + 1e-5);
    }
}

TEST(HardConcreteTest, SlopesAreFiniteDifferences) {
  const HardConcrete gate;
  Rng rng(2, "slopes");
  constexpr double kStep = 1e-5;
  int inside = 0;
  for (int i = 0; i < 2000; ++i) {
    const double log_alpha = 9 * (rng.uniform() - 0.5), u = 0.001 + 0.998 * rng.uniform();
    const double above = gate.draw(log_alpha + kStep, u).z,
                 below = gate.draw(log_alpha - kStep, u).z;
    const auto clipped = [](double z) { return z == 0 || z == 1; };
    if (clipped(above) != clipped(below)) continue;  // across a corner
    inside += static_cast<int>(!clipped(above));
    EXPECT_NEAR(gate.draw(log_alpha, u).slope, (above - below) / (2 * kStep), 1e-7);
    EXPECT_NEAR(
        gate.open_probability_slope(log_alpha),
        (gate.open_probability(log_alpha + kStep) - gate.open_probability(log_alpha - kStep)) /
            (2 * kStep),
        1e-9);
  }
  EXPECT_GT(inside, 400);
}

TEST(HardConcreteTest, ClampsBoundTheSparsityThatCanBeReached) {
  const HardConcrete gate;
  EXPECT_NEAR(gate.open_probability(-gate.clamp), 0.047, 5e-4);
  EXPECT_NEAR(gate.open_probability(gate.clamp), 0.998, 5e-4);
  EXPECT_NEAR(gate.reachable_sparsity(0, 8), 1 - 0.04713, 1e-5);
  EXPECT_NEAR(gate.reachable_sparsity(8, 8), 1 - 0.99798, 1e-5);
  EXPECT_NEAR(gate.reachable_sparsity(2, 8),
              0.25 * gate.reachable_sparsity(8, 8) + 0.75 * gate.reachable_sparsity(0, 8), 1e-12);
  EXPECT_NEAR(gate.score(1.5), sigmoid(0.8 * 1.5 * 1.5), 1e-12);  // β = ⅔
}

GatedGradient gradient_of(std::vector<double> gradient) {
  GatedGradient out;
  out.gradient = std::move(gradient);
  return out;
}

TEST(PlainGatesTest, TheTrapezoidHasItsHandValues) {
  const auto factor = [](std::int64_t step) {
    return rate_factor(RateShape::kTrapezoid, step, 100);
  };
  EXPECT_DOUBLE_EQ(factor(0), 0.1);  // max((0 + 1)/20, 0.1)
  EXPECT_DOUBLE_EQ(factor(1), 0.1);
  EXPECT_DOUBLE_EQ(factor(2), 0.15);
  EXPECT_DOUBLE_EQ(factor(18), 0.95);
  EXPECT_DOUBLE_EQ(factor(19), 1);
  EXPECT_DOUBLE_EQ(factor(80), 1);  // (100 − 80)/20
  EXPECT_DOUBLE_EQ(factor(81), 0.95);
  EXPECT_DOUBLE_EQ(factor(98), 0.1);
  EXPECT_DOUBLE_EQ(factor(99), 0.1);
  EXPECT_DOUBLE_EQ(rate_factor(RateShape::kTrapezoid, 0, 3), 1);  // 1/0.6
  EXPECT_DOUBLE_EQ(rate_factor(RateShape::kConstant, 99, 100), 1);
}

TEST(PlainGatesTest, TheCosineFallsToATenth) {
  const auto factor = [](std::int64_t step, std::int64_t steps) {
    return rate_factor(RateShape::kCosine, step, steps);
  };
  EXPECT_DOUBLE_EQ(factor(0, 101), 1);
  EXPECT_NEAR(factor(25, 101), 0.55 + 0.45 / std::sqrt(2.0), 1e-12);
  EXPECT_NEAR(factor(50, 101), 0.55, 1e-12);
  EXPECT_NEAR(factor(100, 101), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(factor(0, 1), 1);
}

TEST(PlainGatesTest, AreClampedAfterTheirMeanIsTaken) {
  PlainGates gates(3, {.start = 0.95, .rate = 0.1, .shape = RateShape::kConstant, .steps = 5});
  const std::vector<GatedGradient> passes = {gradient_of({-1, 1, 0})};
  nlohmann::json point;
  for (std::int64_t step = 0; step < 5; ++step) {
    EXPECT_EQ(gates.gates(step, 0), gates.final_gates());
    point = gates.update(step, passes);
    EXPECT_TRUE(std::all_of(gates.final_gates().begin(), gates.final_gates().end(),
                            [](double g) { return g >= 0 && g <= 1; }));
  }
  // Of a constant gradient Adam's every step is the rate.
  const std::vector<double> expected = {1, 0.45, 0.95}, late = {1.1, 0.45, 0.95};
  for (std::size_t u = 0; u < 3; ++u) {
    EXPECT_NEAR(gates.final_gates()[u], expected[u], 1e-6);
    EXPECT_NEAR(gates.late_means()[u], late[u], 1e-6);  // the last fifth: one step
  }
  EXPECT_NEAR(point["mean_gate"].get<double>(), 0.8, 1e-6);
}

TEST(PlainGatesTest, LateMeansAreOverTheLastFifth) {
  PlainGates gates(1, {.start = 1, .rate = 0.05, .shape = RateShape::kConstant, .steps = 10});
  for (std::int64_t step = 0; step < 10; ++step) gates.update(step, std::vector{gradient_of({2})});
  EXPECT_NEAR(gates.late_means()[0], (0.55 + 0.5) / 2, 1e-6);
}

// Against Adam on the sum of both terms' gradients.
TEST(PlainGatesTest, TheRegulariserIsOfTheMeanOrTheSum) {
  for (const bool sum : {false, true}) {
    constexpr double kLambda = 0.6;
    PlainGates gates(4, {.start = 0.5,
                         .rate = 0.01,
                         .shape = RateShape::kConstant,
                         .steps = 3,
                         .regularisation = kLambda,
                         .sum = sum});
    std::vector<double> expected(4, 0.5);
    Adam adam(4);
    Rng rng(4, "regulariser");
    for (std::int64_t step = 0; step < 3; ++step) {
      std::vector<double> first, second, both;
      for (int u = 0; u < 4; ++u) {
        first.push_back(rng.normal());
        second.push_back(rng.normal());
        both.push_back((first.back() + second.back()) / 2 + (sum ? kLambda : kLambda / 4));
      }
      gates.update(step, std::vector{gradient_of(first), gradient_of(second)});
      adam.step(expected, both, 0.01);
      for (std::size_t u = 0; u < 4; ++u) EXPECT_NEAR(gates.final_gates()[u], expected[u], 1e-14);
    }
  }
}

TEST(PlainGatesTest, GoOnFromTheirStateAndRefuseAnother) {
  const PlainGates::Options options{.start = 0.9, .rate = 0.1, .steps = 8, .regularisation = 0.1};
  PlainGates gates(2, options), other(2, options);
  for (std::int64_t step = 0; step < 8; ++step) {
    if (step == 7) {
      ASSERT_TRUE(other.restore(nlohmann::json::parse(gates.state().dump())));
    }
    const std::vector<GatedGradient> passes = {gradient_of({std::sin(step), -1})};
    gates.update(step, passes);
    if (step == 7) other.update(step, passes);
  }
  EXPECT_EQ(other.final_gates(), gates.final_gates());
  EXPECT_EQ(other.late_means(), gates.late_means());
  const auto message = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json state = gates.state();
    state[key] = value;
    const Status status = PlainGates(2, options).restore(state);
    return status ? "none" : status.error().message;
  };
  EXPECT_EQ(message("gates", {0.5, 1.5}), "\"gates\": expected numbers from 0 to 1");
  EXPECT_EQ(message("gates", {0.5}), "\"gates\": expected a list of 2 numbers");
  EXPECT_EQ(message("late_steps", -1), "\"late_steps\": expected a count");
  EXPECT_EQ(message("adam", {{"mean", {1, 2}}}), "\"square\": expected a list of 2 numbers");
}

TEST(GatePathTest, GatesAddUpToKAndFollowTheSlopes) {
  Rng rng(6, "slopes");
  for (int round = 0; round < 50; ++round) {
    const std::size_t units = 2 + rng.below(40);
    std::vector<double> slopes;
    for (std::size_t u = 0; u < units; ++u) slopes.push_back(100 * rng.normal());
    const double k = static_cast<double>(1 + rng.below(units - 1));
    for (const double temperature : {0.01, 1.0, 1e4}) {
      const std::vector<double> gates = gates_of_sum(slopes, k, temperature);
      EXPECT_NEAR(std::accumulate(gates.begin(), gates.end(), 0.0), k, 1e-9);
      for (std::size_t u = 0; u < units; ++u)
        for (std::size_t v = 0; v < units; ++v)
          if (slopes[u] < slopes[v]) {
            EXPECT_LE(gates[u], gates[v]);
          }
    }
  }
}

TEST(GatePathTest, GatesAreTheTopKWhereColdAndEqualWhereHot) {
  const std::vector<double> slopes = {3, -1, 2, 0.5};
  const std::vector<double> cold = gates_of_sum(slopes, 2, 1e-3),
                            hot = gates_of_sum(slopes, 2, 1e6);
  const std::vector<double> top = {1, 0, 1, 0};
  for (std::size_t u = 0; u < 4; ++u) {
    EXPECT_NEAR(cold[u], top[u], 1e-9);
    EXPECT_NEAR(hot[u], 0.5, 1e-5);
  }
  for (const double gate : gates_of_sum(slopes, 4, 1.0)) EXPECT_NEAR(gate, 1, 1e-9);
}

TEST(GatePathTest, RotatingPartsGoOnWhereTheyEnded) {
  using Parts = std::vector<std::vector<std::size_t>>;
  const std::vector<std::size_t> samples = {7, 5, 9, 1, 3};
  EXPECT_EQ(rotating_parts(samples, 0.4, 3), (Parts{{7, 5}, {9, 1}, {3, 7}}));
  EXPECT_EQ(rotating_parts(samples, 0.41, 2), (Parts{{7, 5, 9}, {1, 3, 7}}));
  EXPECT_EQ(rotating_parts(samples, 0.01, 2), (Parts{{7}, {5}}));
  EXPECT_EQ(rotating_parts(samples, 1, 1), (Parts{{7, 5, 9, 1, 3}}));
}

}  // namespace
}  // namespace strata
