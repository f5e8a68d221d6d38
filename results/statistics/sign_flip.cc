#include "results/statistics/sign_flip.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <numeric>

#include "core/result.h"
#include "core/rng.h"

namespace strata {
namespace {

// Flips that give the same sum in another order count as equal.
constexpr double kSlack = 1e-12;
constexpr double kPairSlack = 1e-9;  // of differences that are small beside the series themselves

std::vector<double> sums_of(std::span<const double> values, std::span<const std::size_t> clusters) {
  if (clusters.empty()) return {values.begin(), values.end()};
  STRATA_CHECK(clusters.size() == values.size(), "{} {}", clusters.size(), values.size());
  const std::size_t count = 1 + *std::max_element(clusters.begin(), clusters.end());
  std::vector<double> sums(count, 0.0), sizes(count, 0.0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    sums[clusters[i]] += values[i];
    sizes[clusters[i]] += 1;
  }
  std::vector<double> out;
  for (std::size_t k = 0; k < count; ++k)
    if (sizes[k] > 0) out.push_back(sums[k]);
  return out;
}

// One flip as signs; bits come 64 at a time.
template <typename Visit>
void draw_signs(Rng& rng, std::size_t clusters, Visit&& visit) {
  std::uint64_t bits = 0;
  for (std::size_t k = 0; k < clusters; ++k) {
    if (k % 64 == 0) bits = rng.next_u64();
    visit(k, (bits >> (k % 64) & 1U) != 0);
  }
}

// All flips by Gray code: one sign changes at a time, and the last value's never does, since a flip
// and its opposite are as far from 0.
double every_flip(std::span<const double> values, double threshold) {
  const std::size_t free = values.size() - 1;
  std::vector<double> signed_values(values.begin(), values.end());
  const std::uint64_t flips = std::uint64_t{1} << free;
  std::uint64_t as_far = 0;
  double sum = std::accumulate(values.begin(), values.end(), 0.0);
  for (std::uint64_t flip = 1;; ++flip) {
    as_far += std::abs(sum) >= threshold ? 1U : 0U;
    if (flip >= flips) break;
    double& changed = signed_values[std::size_t{static_cast<unsigned>(std::countr_zero(flip))}];
    sum -= 2 * changed;
    changed = -changed;
  }
  return static_cast<double>(as_far) / static_cast<double>(flips);
}

// Flips are worked on some at a time, side by side, which compilers turn into vector instructions.
constexpr std::size_t kLanes = 8;
using Lanes = std::array<double, kLanes>;

// sums[series] of kLanes flips that are drawn from `rng`.
void draw_sums(const std::vector<std::vector<double>>& sums, Rng& rng, std::vector<Lanes>& out) {
  std::fill(out.begin(), out.end(), Lanes{});
  const std::size_t clusters = sums[0].size();
  std::vector<Lanes> signs(clusters);
  for (std::size_t lane = 0; lane < kLanes; ++lane)
    draw_signs(rng, clusters,
               [&](std::size_t k, bool positive) { signs[k][lane] = positive ? 1.0 : -1.0; });
  for (std::size_t s = 0; s < sums.size(); ++s) {
    Lanes sum{};
    for (std::size_t k = 0; k < clusters; ++k) {
      const double value = sums[s][k];
      for (std::size_t lane = 0; lane < kLanes; ++lane) sum[lane] += value * signs[k][lane];
    }
    out[s] = sum;
  }
}

// The largest |t| of all pairs under each flip, sorted.
std::vector<double> largest_under_flips(const std::vector<std::vector<double>>& sums,
                                        const std::vector<double>& inverse_norm,
                                        const SignFlipOptions& options) {
  const std::size_t series = sums.size();
  const auto flips = static_cast<std::size_t>(options.flips);
  Rng rng(options.seed, "statistics.all_pairs");
  std::vector<double> largest;
  std::vector<Lanes> flipped(series);
  while (largest.size() < flips) {
    draw_sums(sums, rng, flipped);
    Lanes most{};
    for (std::size_t a = 0; a < series; ++a)
      for (std::size_t b = a + 1; b < series; ++b) {
        const double scale = inverse_norm[a * series + b];
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          const double t = std::abs(flipped[a][lane] - flipped[b][lane]) * scale;
          most[lane] = most[lane] < t ? t : most[lane];
        }
      }
    const std::size_t taken = std::min(kLanes, flips - largest.size());
    largest.insert(largest.end(), most.begin(), most.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  std::sort(largest.begin(), largest.end());
  return largest;
}

}  // namespace

double sign_flip(std::span<const double> values, const SignFlipOptions& options) {
  STRATA_CHECK(!values.empty());
  double scale = 0;
  for (const double value : values) scale += std::abs(value);
  if (scale == 0) return 1;
  const double observed =
      std::abs(std::accumulate(values.begin(), values.end(), 0.0)) - kSlack * scale;
  if (values.size() <= kClustersForAllFlips) return every_flip(values, observed);
  Rng rng(options.seed, "inference.sign_flip");
  int as_far = 0;
  for (int flip = 0; flip < options.flips; ++flip) {
    double sum = 0;
    draw_signs(rng, values.size(),
               [&](std::size_t k, bool positive) { sum += positive ? values[k] : -values[k]; });
    as_far += std::abs(sum) >= observed ? 1 : 0;
  }
  return (1.0 + as_far) / (1.0 + options.flips);
}

PValue cluster_sign_flip(std::span<const double> differences, std::span<const std::size_t> clusters,
                         const SignFlipOptions& options) {
  const std::vector<double> sums = sums_of(differences, clusters);
  if (sums.size() < kClustersForInference)
    return InferenceNotSupported{sums.size(), kClustersForInference};
  return sign_flip(sums, options);
}

std::vector<std::vector<double>> all_pairs_sign_flip(const std::vector<std::vector<double>>& sums,
                                                     const SignFlipOptions& options) {
  const std::size_t series = sums.size();
  std::vector<std::vector<double>> adjusted(series, std::vector<double>(series, 1.0));
  if (series < 2) return adjusted;
  STRATA_CHECK(!sums[0].empty());
  // The norm of a pair's differences is the same under every flip: the sum over it is its t.
  std::vector<double> inverse_norm(series * series, 0.0);
  std::vector<double> observed(series * series, 0.0);
  for (std::size_t a = 0; a < series; ++a)
    for (std::size_t b = a + 1; b < series; ++b) {
      double sum = 0, squares = 0;
      for (std::size_t k = 0; k < sums[a].size(); ++k) {
        const double difference = sums[a][k] - sums[b][k];
        sum += difference;
        squares += difference * difference;
      }
      if (!(squares > 0)) continue;
      inverse_norm[a * series + b] = 1 / std::sqrt(squares);
      observed[a * series + b] = std::abs(sum) / std::sqrt(squares);
    }
  const std::vector<double> largest = largest_under_flips(sums, inverse_norm, options);
  for (std::size_t a = 0; a < series; ++a)
    for (std::size_t b = a + 1; b < series; ++b) {
      if (inverse_norm[a * series + b] == 0) continue;
      const double bound = observed[a * series + b] * (1 - kPairSlack);
      const auto as_far = largest.end() - std::lower_bound(largest.begin(), largest.end(), bound);
      adjusted[a][b] = adjusted[b][a] = (1.0 + static_cast<double>(as_far)) / (1.0 + options.flips);
    }
  return adjusted;
}

}  // namespace strata
