#include "results/statistics.h"

#include <algorithm>
#include <array>
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

constexpr std::string_view kBootstrapStream = "statistics.bootstrap";

double sum_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

std::vector<double> differences(std::span<const double> a, std::span<const double> b) {
  STRATA_CHECK(a.size() == b.size() && !a.empty(), "{} {}", a.size(), b.size());
  std::vector<double> out(a.size());
  std::transform(a.begin(), a.end(), b.begin(), out.begin(), std::minus<>());
  return out;
}

std::size_t cluster_count(std::span<const std::size_t> clusters, std::size_t values) {
  return clusters.empty() ? values : 1 + *std::max_element(clusters.begin(), clusters.end());
}

// Whether each value is a cluster of its own.
bool independent(std::span<const double> values, const BootstrapOptions& options) {
  return cluster_count(options.clusters, values.size()) >= values.size();
}

// Sums over the values of each cluster: resampling whole clusters needs no more than these.
template <std::size_t kSeries>
struct ClusterSum {
  std::array<double, kSeries> sums{};
  double size = 0;
};

template <std::size_t kSeries>
std::vector<ClusterSum<kSeries>> cluster_sums(
    const std::array<std::span<const double>, kSeries>& series,
    std::span<const std::size_t> clusters) {
  const std::size_t n = series[0].size();
  STRATA_CHECK(clusters.empty() || clusters.size() == n, "{} {}", clusters.size(), n);
  std::vector<ClusterSum<kSeries>> out(cluster_count(clusters, n));
  for (std::size_t i = 0; i < n; ++i) {
    ClusterSum<kSeries>& cluster = out[clusters.empty() ? i : clusters[i]];
    cluster.size += 1;
    for (std::size_t s = 0; s < kSeries; ++s) cluster.sums[s] += series[s][i];
  }
  return out;
}

// statistic(means of the series) for each resample of whole clusters.
template <std::size_t kSeries, typename Statistic>
std::vector<double> resampled(const std::vector<ClusterSum<kSeries>>& clusters,
                              const BootstrapOptions& options, Statistic&& statistic) {
  const ClusterDraws* const drawn = options.drawn;
  STRATA_CHECK(
      drawn == nullptr || (drawn->clusters() == clusters.size() &&
                           drawn->draws() == options.draws && drawn->seed() == options.seed),
      "{}", clusters.size());
  Rng rng(options.seed, kBootstrapStream);
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(options.draws));
  for (int draw = 0; draw < options.draws; ++draw) {
    ClusterSum<kSeries> all;
    const auto add = [&](const ClusterSum<kSeries>& cluster) {
      all.size += cluster.size;
      for (std::size_t s = 0; s < kSeries; ++s) all.sums[s] += cluster.sums[s];
    };
    if (drawn != nullptr)
      for (const std::uint32_t cluster : drawn->of(draw)) add(clusters[cluster]);
    else
      for (std::size_t k = 0; k < clusters.size(); ++k)
        add(clusters[static_cast<std::size_t>(rng.below(clusters.size()))]);
    for (double& sum : all.sums) sum /= all.size;
    out.push_back(statistic(all.sums));
  }
  return out;
}

double at_share(const std::vector<double>& sorted, double q) {
  const double place = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

// None where a value is no number: such do not sort.
std::optional<Interval> percentiles(std::vector<double> values, double confidence) {
  if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
    return std::nullopt;
  const double tail = (1 - confidence) / 2;
  std::sort(values.begin(), values.end());
  return Interval{at_share(values, tail), at_share(values, 1 - tail)};
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
  const double error = std::sqrt(squares / (n - 1) / n);
  return {mean, std::isfinite(mean) && std::isfinite(error) ? std::optional(error) : std::nullopt};
}

Estimate t_estimate(std::span<const double> values, double confidence) {
  const Mean mean = mean_of(values);
  if (!mean.standard_error) return {mean.value, std::nullopt};
  const boost::math::students_t t(static_cast<double>(values.size() - 1));
  const double half = boost::math::quantile(t, 1 - (1 - confidence) / 2) * *mean.standard_error;
  return {mean.value, Interval{mean.value - half, mean.value + half}};
}

ClusterDraws::ClusterDraws(std::size_t clusters, int draws, std::uint64_t seed)
    : clusters_(clusters), draws_(draws), seed_(seed) {
  STRATA_CHECK(clusters >= 1 && draws >= 0, "{} {}", clusters, draws);
  const std::size_t all = clusters * static_cast<std::size_t>(draws);
  Rng rng(seed, kBootstrapStream);
  drawn_.reserve(all);
  for (std::size_t i = 0; i < all; ++i)
    drawn_.push_back(static_cast<std::uint32_t>(rng.below(clusters)));
}

std::span<const std::uint32_t> ClusterDraws::of(int draw) const {
  return std::span(drawn_).subspan(static_cast<std::size_t>(draw) * clusters_, clusters_);
}

Estimate paired_bootstrap(std::span<const double> a, std::span<const double> b,
                          const BootstrapOptions& options) {
  return cluster_bootstrap(differences(a, b), options);
}

Estimate paired_estimate(std::span<const double> a, std::span<const double> b,
                         const BootstrapOptions& options) {
  return mean_estimate(differences(a, b), options);
}

Estimate mean_estimate(std::span<const double> values, const BootstrapOptions& options) {
  return independent(values, options) ? t_estimate(values, options.confidence)
                                      : cluster_bootstrap(values, options);
}

std::vector<double> cluster_means(std::span<const double> values,
                                  std::span<const std::size_t> clusters) {
  std::vector<double> means;
  for (const ClusterSum<1>& cluster : cluster_sums<1>({values}, clusters))
    means.push_back(cluster.sums[0] / cluster.size);
  return means;
}

Estimate share_estimate(std::span<const double> values, const BootstrapOptions& options) {
  const auto ones = static_cast<std::size_t>(std::count(values.begin(), values.end(), 1.0));
  const auto zeros = static_cast<std::size_t>(std::count(values.begin(), values.end(), 0.0));
  if (!independent(values, options)) {
    const std::size_t count = cluster_count(options.clusters, values.size());
    if (count < 2 || std::max(ones, zeros) < values.size())
      return cluster_bootstrap(values, options);
    return {values[0], wilson_interval(ones > 0 ? count : 0, count, options.confidence)};
  }
  if (ones + zeros != values.size()) {
    Estimate estimate = t_estimate(values, options.confidence);
    if (estimate.interval)  // a share ends there
      estimate.interval = {std::max(estimate.interval->low, 0.0),
                           std::min(estimate.interval->high, 1.0)};
    return estimate;
  }
  return {mean_of(values).value, wilson_interval(ones, values.size(), options.confidence)};
}

Estimate cluster_bootstrap(std::span<const double> values, const BootstrapOptions& options) {
  STRATA_CHECK(!values.empty());
  const double mean = sum_of(values) / static_cast<double>(values.size());
  const auto clusters = cluster_sums<1>({values}, options.clusters);
  if (clusters.size() < 2) return {mean, std::nullopt};
  std::vector<double> means = resampled(clusters, options, [](const auto& m) { return m[0]; });
  return {mean, percentiles(std::move(means), options.confidence)};
}

Estimate mean_of_group_means(std::span<const ValueGroup> groups, const BootstrapOptions& options) {
  STRATA_CHECK(!groups.empty());
  const auto n = static_cast<double>(groups.size());
  std::vector<double> means(static_cast<std::size_t>(options.draws));
  Estimate out;
  bool varies = true;
  BootstrapOptions of_group{options.draws, options.seed, options.confidence};
  for (const ValueGroup& group : groups) {
    STRATA_CHECK(!group.values.empty());
    out.value += mean_of(group.values).value / n;
    const auto clusters = cluster_sums<1>({group.values}, group.clusters);
    varies = varies && clusters.size() >= 2;
    const auto drawn = resampled(clusters, of_group, [](const auto& m) { return m[0]; });
    for (std::size_t i = 0; i < means.size(); ++i) means[i] += drawn[i] / n;
    ++of_group.seed;  // groups vary by themselves
  }
  const auto interval = percentiles(std::move(means), options.confidence);
  if (varies && interval && interval->high > interval->low) out.interval = interval;
  return out;
}

std::optional<Estimate> gap_closed(std::span<const double> none, std::span<const double> plan,
                                   std::span<const double> full, const BootstrapOptions& options) {
  STRATA_CHECK(none.size() == plan.size() && none.size() == full.size() && !none.empty(),
               "{} {} {}", none.size(), plan.size(), full.size());
  const double gap = sum_of(none) - sum_of(full);
  if (!(gap > 0)) return std::nullopt;
  Estimate out{(sum_of(none) - sum_of(plan)) / gap, std::nullopt};
  const auto clusters = cluster_sums<3>({none, plan, full}, options.clusters);
  if (clusters.size() < 2) return out;
  bool resolved = true;
  std::vector<double> shares = resampled(clusters, options, [&](const auto& m) {
    resolved &= m[0] > m[2];
    return (m[0] - m[1]) / (m[0] - m[2]);
  });
  if (resolved) out.interval = percentiles(std::move(shares), options.confidence);
  return out;
}

std::optional<double> paired_t_test(std::span<const double> a, std::span<const double> b) {
  const Mean mean = mean_of(differences(a, b));
  if (!mean.standard_error) return std::nullopt;
  if (*mean.standard_error == 0) return mean.value == 0 ? 1 : 0;
  const boost::math::students_t t(static_cast<double>(a.size() - 1));
  return 2 *
         boost::math::cdf(boost::math::complement(t, std::abs(mean.value / *mean.standard_error)));
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
  return at_share(sorted, q);
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
