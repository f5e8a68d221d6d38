#include "strategies/quadratic_fit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/matmul.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "core/result.h"

namespace strata {
namespace {

using Rows = std::vector<std::vector<double>>;

at::Tensor matrix_of(const Rows& rows) {
  const auto n = static_cast<std::int64_t>(rows.size());
  const auto units = static_cast<std::int64_t>(rows[0].size());
  const at::Tensor out = at::empty({n, units}, at::kDouble);
  double* data = out.mutable_data_ptr<double>();
  for (const std::vector<double>& row : rows) data = std::copy(row.begin(), row.end(), data);
  return out;
}

std::vector<double> vector_of(const at::Tensor& x) {
  const at::Tensor flat = x.contiguous();
  return {flat.const_data_ptr<double>(), flat.const_data_ptr<double>() + flat.numel()};
}

struct Solved {
  at::Tensor b, h;
};

// Points in rows.
class Solver {
 public:
  Solver(const at::Tensor& gates, const at::Tensor& slopes)
      : gate_mean_(gates.mean(0)), slope_mean_(slopes.mean(0)) {
    const at::Tensor g = gates - gate_mean_, y = slopes - slope_mean_;
    const at::Tensor cross = at::matmul(y.t(), g);
    std::tie(values_, vectors_) = at::linalg_eigh(at::matmul(g.t(), g));
    rotated_ = at::matmul(vectors_.t(), at::matmul(cross + cross.t(), vectors_));
  }
  Solved solve(double penalty) const {
    const at::Tensor sums = values_.unsqueeze(0) + values_.unsqueeze(1) + 2 * penalty;
    const at::Tensor h = at::matmul(vectors_, at::matmul(rotated_ / sums, vectors_.t()));
    return {slope_mean_ - at::matmul(h, gate_mean_), h};
  }
  double mean_eigenvalue() const { return values_.mean().item<double>(); }
  const at::Tensor& slope_mean() const { return slope_mean_; }

 private:
  at::Tensor gate_mean_, slope_mean_, values_, vectors_, rotated_;
};

at::Tensor without(const at::Tensor& x, std::int64_t row) {
  std::vector<std::int64_t> kept;
  for (std::int64_t i = 0; i < x.size(0); ++i)
    if (i != row) kept.push_back(i);
  at::Tensor out = at::empty({x.size(0) - 1, x.size(1)}, at::kDouble);
  for (std::size_t i = 0; i < kept.size(); ++i)
    out.select(0, static_cast<std::int64_t>(i)).copy_(x.select(0, kept[i]));
  return out;
}

double squared(const at::Tensor& x) { return x.square().sum().item<double>(); }

}  // namespace

double QuadraticFit::value(const std::vector<double>& gates) const {
  double total = 0;
  for (std::size_t u = 0; u < gates.size(); ++u) {
    double row = b[u];
    for (std::size_t v = 0; v < gates.size(); ++v) row += 0.5 * h[u][v] * gates[v];
    total += row * gates[u];
  }
  return total;
}

QuadraticFit fit_quadratic(const Rows& gates, const Rows& slopes) {
  STRATA_CHECK(gates.size() >= 3 && gates.size() == slopes.size());
  const c10::InferenceMode inference;
  const at::Tensor g = matrix_of(gates), y = matrix_of(slopes);
  const Solver all(g, y);
  constexpr std::array<double, 8> kGrid = {1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1e4};
  std::array<double, kGrid.size()> errors{};
  double spread = 0;
  for (std::int64_t left_out = 0; left_out < g.size(0); ++left_out) {
    const Solver others(without(g, left_out), without(y, left_out));
    spread += squared(y.select(0, left_out) - others.slope_mean());
    for (std::size_t i = 0; i < kGrid.size(); ++i) {
      const Solved fit = others.solve(kGrid[i] * all.mean_eigenvalue());
      errors[i] +=
          squared(y.select(0, left_out) - fit.b - at::matmul(fit.h, g.select(0, left_out)));
    }
  }
  const auto best =
      static_cast<std::size_t>(std::min_element(errors.begin(), errors.end()) - errors.begin());
  QuadraticFit out{.penalty = kGrid[best] * all.mean_eigenvalue(),
                   .slopes_r2 = spread > 0 ? 1 - errors[best] / spread : 0};
  const Solved fit = all.solve(out.penalty);
  out.b = vector_of(fit.b);
  for (std::int64_t u = 0; u < fit.h.size(0); ++u) out.h.push_back(vector_of(fit.h.select(0, u)));
  return out;
}

namespace {

// A set, and what each unit would add to its value: slope_u = b_u + Σ_v∈S h_uv.
struct Candidate {
  std::vector<double> gates, slopes;
  double value = 0;
};

Candidate candidate_of(const QuadraticFit& fit, const std::vector<std::size_t>& units) {
  Candidate out{.gates = std::vector<double>(fit.b.size(), 0.0), .slopes = fit.b};
  for (const std::size_t v : units) {
    out.gates[v] = 1;
    for (std::size_t u = 0; u < fit.b.size(); ++u) out.slopes[u] += fit.h[u][v];
  }
  out.value = fit.value(out.gates);
  return out;
}

std::vector<std::size_t> units_of(const std::vector<double>& gates) {
  std::vector<std::size_t> units;
  for (std::size_t u = 0; u < gates.size(); ++u)
    if (gates[u] > 0) units.push_back(u);
  return units;
}

Candidate improved(const QuadraticFit& fit, Candidate candidate) {
  while (true) {
    double best = -1e-12;
    std::size_t best_out = 0, best_in = 0;
    for (std::size_t out = 0; out < fit.b.size(); ++out)
      for (std::size_t in = 0; in < fit.b.size(); ++in) {
        if (candidate.gates[out] == 0 || candidate.gates[in] > 0) continue;
        const double change = -candidate.slopes[out] + 0.5 * fit.h[out][out] +
                              candidate.slopes[in] + 0.5 * fit.h[in][in] - fit.h[out][in];
        if (change < best) {
          best = change;
          best_out = out;
          best_in = in;
        }
      }
    if (best == -1e-12) return candidate;
    candidate.gates[best_out] = 0;
    candidate.gates[best_in] = 1;
    candidate = candidate_of(fit, units_of(candidate.gates));
  }
}

}  // namespace

std::vector<std::size_t> least_set(const QuadraticFit& fit, std::size_t k,
                                   const std::vector<std::vector<std::size_t>>& starts) {
  std::vector<std::size_t> greedy;
  while (greedy.size() < k) {
    const Candidate here = candidate_of(fit, greedy);
    double least = std::numeric_limits<double>::infinity();
    std::size_t next = 0;
    for (std::size_t u = 0; u < fit.b.size(); ++u)
      if (here.gates[u] == 0 && here.slopes[u] + 0.5 * fit.h[u][u] < least) {
        least = here.slopes[u] + 0.5 * fit.h[u][u];
        next = u;
      }
    greedy.push_back(next);
  }
  Candidate best = improved(fit, candidate_of(fit, greedy));
  for (const std::vector<std::size_t>& start : starts) {
    Candidate other = improved(fit, candidate_of(fit, start));
    if (other.value < best.value) best = std::move(other);
  }
  return units_of(best.gates);
}

}  // namespace strata
