// Claims about selectors: intervals over calibration seeds, and with them what a claim is tested by
// (results/statistics/: sign flips over clusters, equivalence, corrections for a family).
//
// Where the numbers do not support an answer the answer says so; there is no p-value then. Values
// are paired differences (selector − control), in any unit. Two-sided and 95 % unless told
// otherwise. Pure functions, fixed seeds, thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "results/statistics.h"
#include "results/statistics/corrections.h"
#include "results/statistics/equivalence.h"
#include "results/statistics/sign_flip.h"

namespace strata {

inline constexpr std::size_t kSeedsForBootstrap = 20;  // below: t over the per-seed means

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

}  // namespace strata
