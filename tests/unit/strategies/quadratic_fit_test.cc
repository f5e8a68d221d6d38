// Quadratics fitted to gradients, against known ones, finite differences and every set.
#include "strategies/quadratic_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/rng.h"

namespace strata {
namespace {

using Rows = std::vector<std::vector<double>>;

struct Quadratic {
  std::vector<double> b;
  Rows h;
  std::vector<double> slopes(const std::vector<double>& gates) const {
    std::vector<double> out = b;
    for (std::size_t u = 0; u < b.size(); ++u)
      for (std::size_t v = 0; v < b.size(); ++v) out[u] += h[u][v] * gates[v];
    return out;
  }
};

Quadratic random_quadratic(std::size_t units, Rng& rng) {
  Quadratic out{.b = std::vector<double>(units), .h = Rows(units, std::vector<double>(units))};
  for (std::size_t u = 0; u < units; ++u) {
    out.b[u] = rng.normal();
    for (std::size_t v = 0; v <= u; ++v) out.h[u][v] = out.h[v][u] = rng.normal();
  }
  return out;
}

Rows random_points(std::size_t count, std::size_t units, Rng& rng) {
  Rows points(count, std::vector<double>(units));
  for (std::vector<double>& point : points)
    for (double& gate : point) gate = rng.uniform();
  return points;
}

TEST(QuadraticFitTest, RecoversAQuadraticFromItsGradients) {
  Rng rng(10, "recovery");
  const Quadratic truth = random_quadratic(6, rng);
  const Rows points = random_points(30, 6, rng);
  Rows slopes;
  for (const auto& point : points) slopes.push_back(truth.slopes(point));
  const QuadraticFit fit = fit_quadratic(points, slopes);
  EXPECT_GT(fit.slopes_r2, 0.9999);
  for (std::size_t u = 0; u < 6; ++u) {
    EXPECT_NEAR(fit.b[u], truth.b[u], 2e-3);
    for (std::size_t v = 0; v < 6; ++v) EXPECT_NEAR(fit.h[u][v], truth.h[u][v], 2e-3);
  }
  // value() is the function whose gradients were given, up to a constant.
  const std::vector<double> one(6, 1.0);
  double expected = 0;
  for (std::size_t u = 0; u < 6; ++u) {
    expected += truth.b[u];
    for (std::size_t v = 0; v < 6; ++v) expected += 0.5 * truth.h[u][v];
  }
  EXPECT_NEAR(fit.value(one), expected, 1e-2);
}

// Five points of twelve units: what lies in their span is known, nothing else is made up.
TEST(QuadraticFitTest, PredictsAlongThePointsWhereTheyAreFewerThanUnits) {
  Rng rng(11, "span");
  const Quadratic truth = random_quadratic(12, rng);
  const Rows points = random_points(5, 12, rng);
  Rows slopes;
  for (const auto& point : points) slopes.push_back(truth.slopes(point));
  const QuadraticFit fit = fit_quadratic(points, slopes);
  const Quadratic fitted{fit.b, fit.h};
  std::vector<double> away(12, 0.0);  // orthogonal to all differences of points
  for (double& value : away) value = rng.normal();
  Rows basis;
  for (std::size_t m = 1; m < points.size(); ++m) {
    std::vector<double> row(12);
    for (std::size_t u = 0; u < 12; ++u) row[u] = points[m][u] - points[0][u];
    const auto remove = [](std::vector<double>& x, const std::vector<double>& y) {
      const double share = std::inner_product(x.begin(), x.end(), y.begin(), 0.0) /
                           std::inner_product(y.begin(), y.end(), y.begin(), 0.0);
      for (std::size_t u = 0; u < x.size(); ++u) x[u] -= share * y[u];
    };
    for (const auto& other : basis) remove(row, other);
    remove(away, row);
    basis.push_back(row);
  }
  double curvature = 0, size = 0;
  for (std::size_t u = 0; u < 12; ++u)
    for (std::size_t v = 0; v < 12; ++v) {
      curvature += away[u] * fit.h[u][v] * away[v];
      size += away[u] * away[u] / 12 * std::abs(fit.h[u][v]);
    }
  EXPECT_NEAR(curvature, 0, 1e-9 * size);
  for (std::size_t m = 0; m < points.size(); ++m) {
    const std::vector<double> predicted = fitted.slopes(points[m]);
    double error = 0, spread = 0;
    for (std::size_t u = 0; u < 12; ++u) {
      error += std::pow(predicted[u] - slopes[m][u], 2);
      spread += std::pow(slopes[m][u], 2);
    }
    EXPECT_LT(error, 0.5 * spread);
  }
}

// Of noisy slopes: no direction lowers what the fit says it minimises.
TEST(QuadraticFitTest, SolvesItsNormalEquations) {
  Rng rng(12, "normal equations");
  constexpr std::size_t kUnits = 5;
  const Rows points = random_points(7, kUnits, rng);
  Rows slopes = points;
  for (auto& row : slopes)
    for (double& slope : row) slope = rng.normal();
  const QuadraticFit fit = fit_quadratic(points, slopes);
  const auto objective = [&](const Quadratic& at) {
    double total = 0;
    for (std::size_t m = 0; m < points.size(); ++m) {
      const std::vector<double> predicted = at.slopes(points[m]);
      for (std::size_t u = 0; u < kUnits; ++u) total += std::pow(predicted[u] - slopes[m][u], 2);
    }
    for (const auto& row : at.h)
      for (const double value : row) total += fit.penalty * value * value;
    return total;
  };
  const auto slope_along = [&](const auto& move) {
    Quadratic above{fit.b, fit.h}, below = above;
    move(above, 1e-4);
    move(below, -1e-4);
    return (objective(above) - objective(below)) / 2e-4;
  };
  for (std::size_t u = 0; u < kUnits; ++u) {
    EXPECT_NEAR(slope_along([&](Quadratic& q, double d) { q.b[u] += d; }), 0, 1e-8);
    for (std::size_t v = 0; v <= u; ++v) {
      EXPECT_NEAR(fit.h[u][v], fit.h[v][u], 1e-12);
      EXPECT_NEAR(slope_along([&](Quadratic& q, double d) {
                    q.h[u][v] += d;
                    if (u != v) q.h[v][u] += d;
                  }),
                  0, 1e-8);
    }
  }
}

TEST(QuadraticFitTest, FindsTheLeastSetOfSmallProblems) {
  Rng rng(13, "sets");
  constexpr std::size_t kUnits = 9;
  for (int round = 0; round < 30; ++round) {
    const Quadratic q = random_quadratic(kUnits, rng);
    const QuadraticFit fit{.b = q.b, .h = q.h};
    const std::size_t k = 1 + rng.below(kUnits - 1);
    double least = std::numeric_limits<double>::infinity();
    std::vector<std::size_t> best;
    for (unsigned set = 0; set < 1U << kUnits; ++set) {
      std::vector<std::size_t> units;
      std::vector<double> gates(kUnits, 0.0);
      for (std::size_t u = 0; u < kUnits; ++u)
        if ((set >> u & 1U) != 0) {
          units.push_back(u);
          gates[u] = 1;
        }
      if (units.size() != k || fit.value(gates) >= least) continue;
      least = fit.value(gates);
      best = units;
    }
    std::vector<std::vector<std::size_t>> starts;
    for (int i = 0; i < 16; ++i) starts.push_back(rng.sample(kUnits, k));
    EXPECT_EQ(least_set(fit, k, starts), best) << "round " << round;
  }
}

}  // namespace
}  // namespace strata
