// Claims about selectors: intervals over calibration seeds, tests over clusters, equivalence and
// non-inferiority, and Holm's correction for a family of them.
//
// Where the numbers do not support an answer the answer says so; there is no p-value then. Values
// are paired differences (selector − control), in any unit. Two-sided and 95 % unless told
// otherwise. Pure functions, fixed seeds, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "results/statistics.h"

namespace strata {

inline constexpr std::size_t kSeedsForBootstrap = 20;     // below: t over the per-seed means
inline constexpr std::size_t kSeedsForClaim = 5;          // below: no claim about a selector
inline constexpr std::size_t kClustersForInference = 20;  // below: no cluster test
inline constexpr double kPointsMargin = 0.03;             // of accuracies, 0 … 1
inline constexpr double kNllMargin = 0.02;                // nats a token

struct SeedOptions {
  int draws = 4000;
  std::uint64_t seed = 0;
  double confidence = kConfidence;
  // Cluster number of each sample; empty = every sample is its own.
  std::span<const std::size_t> clusters = {};
};

enum class SeedMethod { kNone, kT, kBootstrap };

struct SeedEstimate {
  double value = 0;                       // mean of the per-seed means
  std::vector<double> seed_means;         // in the order given
  std::optional<double> between_seed_sd;  // of the per-seed means; none at one seed
  std::optional<Interval> t;              // over the per-seed means: new seeds, these samples
  std::optional<Interval> bootstrap;      // new seeds, clusters and samples; none at one cluster
  SeedMethod method = SeedMethod::kNone;  // which of the two is the interval of a claim
  std::optional<Interval> interval() const;
};

// differences[seed][sample]: every seed's selection answered the same samples. The bootstrap draws
// seeds, clusters and the samples of each cluster; as seeds and samples are crossed, one draw of
// clusters and samples serves all seeds of a resample (drawing anew for each seed would average the
// samples' noise away). ≥ 1 seed, ≥ 1 sample, equal lengths.
SeedEstimate seed_estimate(const std::vector<std::vector<double>>& differences,
                           const SeedOptions& options = {});

struct InferenceNotSupported {
  std::size_t have = 0, need = 0;  // clusters, or seeds
  bool operator==(const InferenceNotSupported&) const = default;
};
using PValue = std::variant<InferenceNotSupported, double>;

// Two-sided test that the mean is 0: the signs of whole clusters are flipped at random, p = (1 +
// flips at least as far from 0) / (1 + flips). Exact in level for differences that are symmetric
// about 0 under the hypothesis. Needs kClustersForInference clusters.
struct SignFlipOptions {
  int flips = 9999;
  std::uint64_t seed = 0;
};
PValue cluster_sign_flip(std::span<const double> differences, std::span<const std::size_t> clusters,
                         const SignFlipOptions& options = {});

// Holm's adjusted p-values, in the order given. `family`: how many tests were declared, where some
// gave no p-value (0 = these are all); they count in the correction.
std::vector<double> holm(std::span<const double> p_values, std::size_t family = 0);

enum class Equivalence { kEquivalent, kDifferent, kInconclusive };
std::string_view to_string(Equivalence answer);

struct EquivalenceTest {
  Equivalence answer = Equivalence::kInconclusive;
  double mean = 0;
  std::optional<Interval> interval;     // 1 − 2 alpha: equivalent where it lies within the margin
  std::optional<double> p;              // of TOST: the larger of its two; none at n = 1
  std::optional<std::size_t> n_needed;  // at this spread, for a power of 80 %; none at n = 1
};

// Two one-sided t tests of independent values (samples, cluster means or seed means) against
// ±margin. Equivalent: both reject. Different: not equivalent, and 0 lies outside the two-sided 1 −
// alpha interval. n ≥ 1, margin > 0.
EquivalenceTest equivalence(std::span<const double> values, double margin, double alpha = 0.05);

// Values that TOST needs for `power` where the true difference is 0, by the normal approximation
// (z_{1−alpha} + z_{1−(1−power)/2})² (sd / margin)²: 952 for ±3 points at 10 % discordant pairs
// (sd² = 0.1). At least 2.
std::size_t equivalence_samples(double sd, double margin, double alpha = 0.05, double power = 0.8);

// One-sided t test over per-seed means of a paired difference where lower is better: is the
// selector worse than the control by less than the margin? Needs kSeedsForClaim seeds.
struct NonInferiority {
  double mean = 0;
  double upper = 0;  // one-sided bound, confidence 1 − alpha
  double p = 1;      // of "worse by the margin or more"
  bool shown = false;
};
std::variant<InferenceNotSupported, NonInferiority> non_inferiority(
    std::span<const double> seed_means, double margin = kNllMargin, double alpha = 0.05);

}  // namespace strata
