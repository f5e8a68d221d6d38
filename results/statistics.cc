#include "results/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

#include "core/result.h"
#include "core/rng.h"

namespace strata {
namespace {

double sum_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::vector<double> differences(std::span<const double> a, std::span<const double> b) {
  STRATA_CHECK(a.size() == b.size() && !a.empty(), "{} {}", a.size(), b.size());
  std::vector<double> out(a.size());
  std::transform(a.begin(), a.end(), b.begin(), out.begin(), std::minus<>());
  return out;
}

// Sums over the values of each cluster: resampling whole clusters needs no more than these.
struct ClusterSums {
  std::vector<std::vector<double>> sums;  // [series][cluster]
  std::vector<double> sizes;              // [cluster]
};

ClusterSums cluster_sums(const std::vector<std::span<const double>>& series,
                         std::span<const std::size_t> clusters) {
  const std::size_t n = series[0].size();
  STRATA_CHECK(clusters.empty() || clusters.size() == n, "{} {}", clusters.size(), n);
  std::size_t count = n;
  if (!clusters.empty()) count = 1 + *std::max_element(clusters.begin(), clusters.end());
  ClusterSums out{std::vector(series.size(), std::vector<double>(count, 0.0)),
                  std::vector<double>(count, 0.0)};
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t cluster = clusters.empty() ? i : clusters[i];
    out.sizes[cluster] += 1;
    for (std::size_t s = 0; s < series.size(); ++s) out.sums[s][cluster] += series[s][i];
  }
  return out;
}

// statistic(means of the series) for each resample of whole clusters.
template <typename Statistic>
std::vector<double> resampled(const ClusterSums& data, const BootstrapOptions& options,
                              Statistic&& statistic) {
  Rng rng(options.seed, "statistics.bootstrap");
  const std::size_t clusters = data.sizes.size();
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(options.draws));
  std::vector<double> means(data.sums.size());
  for (int draw = 0; draw < options.draws; ++draw) {
    double size = 0;
    std::fill(means.begin(), means.end(), 0.0);
    for (std::size_t k = 0; k < clusters; ++k) {
      const auto cluster = static_cast<std::size_t>(rng.below(clusters));
      size += data.sizes[cluster];
      for (std::size_t s = 0; s < means.size(); ++s) means[s] += data.sums[s][cluster];
    }
    for (double& mean : means) mean /= size;
    out.push_back(statistic(means));
  }
  return out;
}

Interval percentiles(std::span<const double> values, double confidence) {
  const double tail = (1 - confidence) / 2;
  return {quantile(values, tail), quantile(values, 1 - tail)};
}

}  // namespace

Interval wilson_interval(std::size_t successes, std::size_t n, double confidence) {
  STRATA_CHECK(n >= 1 && successes <= n, "{} of {}", successes, n);
  const double z = boost::math::quantile(boost::math::normal(), 1 - (1 - confidence) / 2);
  const auto trials = static_cast<double>(n);
  const double p = static_cast<double>(successes) / trials;
  const double denominator = 1 + z * z / trials;
  const double centre = (p + z * z / (2 * trials)) / denominator;
  const double half =
      z * std::sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / denominator;
  // At the ends the bound is exactly 0 or 1; rounding must not say otherwise.
  return {successes == 0 ? 0 : std::max(0.0, centre - half),
          successes == n ? 1 : std::min(1.0, centre + half)};
}

Mean mean_of(std::span<const double> values) {
  STRATA_CHECK(!values.empty());
  const auto n = static_cast<double>(values.size());
  const double mean = sum_of(values) / n;
  if (values.size() == 1) return {mean, std::nullopt};
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / (n - 1) / n)};
}

Estimate t_estimate(std::span<const double> values, double confidence) {
  const Mean mean = mean_of(values);
  if (!mean.standard_error) return {mean.value, std::nullopt};
  const boost::math::students_t t(static_cast<double>(values.size() - 1));
  const double half = boost::math::quantile(t, 1 - (1 - confidence) / 2) * *mean.standard_error;
  return {mean.value, Interval{mean.value - half, mean.value + half}};
}

Estimate paired_difference(std::span<const double> a, std::span<const double> b,
                           double confidence) {
  return t_estimate(differences(a, b), confidence);
}

Estimate paired_bootstrap(std::span<const double> a, std::span<const double> b,
                          const BootstrapOptions& options) {
  const std::vector<double> values = differences(a, b);
  const double mean = sum_of(values) / static_cast<double>(values.size());
  const ClusterSums data = cluster_sums({values}, options.clusters);
  if (data.sizes.size() < 2) return {mean, std::nullopt};
  const std::vector<double> means =
      resampled(data, options, [](const std::vector<double>& m) { return m[0]; });
  return {mean, percentiles(means, options.confidence)};
}

std::optional<Estimate> gap_closed(std::span<const double> none, std::span<const double> plan,
                                   std::span<const double> full, const BootstrapOptions& options) {
  STRATA_CHECK(none.size() == plan.size() && none.size() == full.size() && !none.empty(),
               "{} {} {}", none.size(), plan.size(), full.size());
  const double gap = sum_of(none) - sum_of(full);
  if (!(gap > 0)) return std::nullopt;
  Estimate out{(sum_of(none) - sum_of(plan)) / gap, std::nullopt};
  const ClusterSums data = cluster_sums({none, plan, full}, options.clusters);
  if (data.sizes.size() < 2) return out;
  bool resolved = true;
  const std::vector<double> shares = resampled(data, options, [&](const std::vector<double>& m) {
    resolved &= m[0] > m[2];
    return (m[0] - m[1]) / (m[0] - m[2]);
  });
  if (resolved) out.interval = percentiles(shares, options.confidence);
  return out;
}

double mcnemar_exact(std::size_t only_first, std::size_t only_second) {
  const std::size_t discordant = only_first + only_second;
  if (discordant == 0) return 1;
  const boost::math::binomial fair(static_cast<double>(discordant), 0.5);
  const auto fewer = static_cast<double>(std::min(only_first, only_second));
  return std::min(1.0, 2 * boost::math::cdf(fair, fewer));
}

double quantile(std::span<const double> values, double q) {
  STRATA_CHECK(!values.empty() && q >= 0 && q <= 1, "{} {}", values.size(), q);
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Estimate distribution_of(std::span<const double> values) {
  const bool enough = values.size() >= kDrawsForQuantiles;
  return {quantile(values, 0.5),
          Interval{quantile(values, enough ? 0.05 : 0), quantile(values, enough ? 0.95 : 1)}};
}

std::vector<std::size_t> cluster_numbers(std::span<const std::string> names) {
  std::map<std::string, std::size_t> known;
  std::vector<std::size_t> out;
  std::size_t next = 0;
  for (const std::string& name : names) {
    if (name.empty()) {
      out.push_back(next++);
      continue;
    }
    const auto [it, is_new] = known.try_emplace(name, next);
    if (is_new) ++next;
    out.push_back(it->second);
  }
  return out;
}

}  // namespace strata
