// Statistics of the reports: pure functions of numbers, with a fixed seed where they resample.
//
// Intervals are two-sided and 95 % unless told otherwise. Where n does not allow an interval there
// is none, rather than a false one; nor where values are so large that their sum or its spread is
// no number (a database may hold any). Thread-safe. Nothing here knows of rows or models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace strata {

struct Interval {
  double low = 0;
  double high = 0;
  bool operator==(const Interval&) const = default;
};

struct Estimate {
  double value = 0;
  std::optional<Interval> interval;
};

inline constexpr double kConfidence = 0.95;

// Wilson's score interval of a proportion; 0 ≤ successes ≤ n, n ≥ 1.
Interval wilson_interval(std::size_t successes, std::size_t n, double confidence = kConfidence);

struct Mean {
  double value = 0;
  std::optional<double> standard_error;  // none at n = 1, or where either is not finite
};
Mean mean_of(std::span<const double> values);  // n ≥ 1

// Mean with Student's t interval (none without a standard error); n ≥ 1.
Estimate t_estimate(std::span<const double> values, double confidence = kConfidence);

// The clusters that a bootstrap draws, drawn once for many statistics of the same clusters: the
// same numbers as without it. Immutable; 4 bytes a draw and cluster.
class ClusterDraws {
 public:
  ClusterDraws(std::size_t clusters, int draws, std::uint64_t seed);
  std::size_t clusters() const { return clusters_; }
  int draws() const { return draws_; }
  std::uint64_t seed() const { return seed_; }
  std::span<const std::uint32_t> of(int draw) const;

 private:
  std::size_t clusters_;
  int draws_;
  std::uint64_t seed_;
  std::vector<std::uint32_t> drawn_;  // [draw][k]
};

struct BootstrapOptions {
  int draws = 4000;
  std::uint64_t seed = 0;
  double confidence = kConfidence;
  // Cluster number of each value; whole clusters are drawn. Empty = every value is its own.
  std::span<const std::size_t> clusters = {};
  // Of these draws, this seed and as many clusters; null = drawn anew.
  const ClusterDraws* drawn = nullptr;
};

// Mean, percentile interval over resampled clusters (none at one cluster); n ≥ 1.
Estimate cluster_bootstrap(std::span<const double> values, const BootstrapOptions& options);

// Mean: Student's t where each value is a cluster of its own, cluster_bootstrap() otherwise. n ≥ 1.
Estimate mean_estimate(std::span<const double> values, const BootstrapOptions& options);

// Mean of the values of each cluster; every cluster has one. n ≥ 1.
std::vector<double> cluster_means(std::span<const double> values,
                                  std::span<const std::size_t> clusters);

// A share, of values in [0, 1]: Wilson where all are 0 or 1 and each is a cluster of its own,
// Student's t within [0, 1] where each is its own and some lie between, cluster_bootstrap()
// otherwise; but where
// all are 0 or all are 1, Wilson over the clusters: every resample is the same then, which is no
// certainty. n ≥ 1.
Estimate share_estimate(std::span<const double> values, const BootstrapOptions& options);

// A task, of several that are asked.
struct ValueGroup {
  std::vector<double> values;         // n ≥ 1
  std::vector<std::size_t> clusters;  // as in BootstrapOptions, of this group
};

// Mean of the groups' means, whatever their sizes; clusters are drawn within each group. No
// interval where a group has one cluster, nor where every draw gives the same (all answers right):
// that it never varied does not say that it cannot. At least one group; options.clusters and drawn
// are not looked at.
Estimate mean_of_group_means(std::span<const ValueGroup> groups, const BootstrapOptions& options);

// mean_estimate() of a − b over pairs; same lengths, n ≥ 1.
Estimate paired_estimate(std::span<const double> a, std::span<const double> b,
                         const BootstrapOptions& options);

// Mean of a − b, percentile interval over resampled clusters (none at one cluster).
Estimate paired_bootstrap(std::span<const double> a, std::span<const double> b,
                          const BootstrapOptions& options);

// (NLL_none − NLL_plan) / (NLL_none − NLL_full) of the means, percentile interval of the paired
// bootstrap. No value where full is not better than none; no interval where that happens in a
// resample (the gap is not resolved).
std::optional<Estimate> gap_closed(std::span<const double> none, std::span<const double> plan,
                                   std::span<const double> full, const BootstrapOptions& options);

// Two-sided paired t test that the mean difference is 0; none without a standard error. Where all
// differences are the same p is 0, or 1 where they are 0. Pairs must be independent.
std::optional<double> paired_t_test(std::span<const double> a, std::span<const double> b);

// Two-sided exact McNemar test: the discordant pairs, b and c. 1 where there are none. Independent
// samples only.
double mcnemar_exact(std::size_t only_first, std::size_t only_second);

// Linear interpolation between order statistics (type 7); 0 ≤ q ≤ 1, n ≥ 1.
double quantile(std::span<const double> values, double q);

// Median with the range below kDrawsForQuantiles values, with the 5–95 % interval from there on; n
// ≥ 1.
inline constexpr std::size_t kDrawsForQuantiles = 20;
Estimate distribution_of(std::span<const double> values);

// Cluster names to numbers in order of appearance; "" is a cluster of its own each time.
std::vector<std::size_t> cluster_numbers(std::span<const std::string> names);

}  // namespace strata
