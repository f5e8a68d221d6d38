#include "results/inference.h"

#include <algorithm>
#include <cmath>

#include "core/result.h"
#include "core/rng.h"

namespace strata {
namespace {

// Samples of each cluster.
std::vector<std::vector<std::size_t>> members_of(std::span<const std::size_t> clusters,
                                                 std::size_t samples) {
  STRATA_CHECK(clusters.empty() || clusters.size() == samples, "{} {}", clusters.size(), samples);
  std::vector<std::vector<std::size_t>> out(
      clusters.empty() ? samples : 1 + *std::max_element(clusters.begin(), clusters.end()));
  for (std::size_t i = 0; i < samples; ++i) out[clusters.empty() ? i : clusters[i]].push_back(i);
  std::erase_if(out, [](const auto& members) { return members.empty(); });
  return out;
}

// Means over seeds and samples of resampled seeds, clusters and samples.
std::vector<double> resampled_means(const std::vector<std::vector<double>>& differences,
                                    const std::vector<std::vector<std::size_t>>& clusters,
                                    const SeedOptions& options) {
  Rng rng(options.seed, "inference.seeds");
  std::vector<double> means;
  means.reserve(static_cast<std::size_t>(options.draws));
  std::vector<std::size_t> samples;
  for (int draw = 0; draw < options.draws; ++draw) {
    samples.clear();
    for (std::size_t k = 0; k < clusters.size(); ++k) {
      const auto& members = clusters[rng.below(clusters.size())];
      for (std::size_t i = 0; i < members.size(); ++i)
        samples.push_back(members[rng.below(members.size())]);
    }
    double sum = 0;
    for (std::size_t s = 0; s < differences.size(); ++s) {
      const std::vector<double>& seed = differences[rng.below(differences.size())];
      for (const std::size_t sample : samples) sum += seed[sample];
    }
    means.push_back(sum / static_cast<double>(differences.size() * samples.size()));
  }
  return means;
}

}  // namespace

std::optional<Interval> SeedEstimate::interval() const {
  switch (method) {
    case SeedMethod::kNone: return std::nullopt;
    case SeedMethod::kT: return t;
    case SeedMethod::kBootstrap: return bootstrap;
  }
  return std::nullopt;
}

SeedEstimate seed_estimate(const std::vector<std::vector<double>>& differences,
                           const SeedOptions& options) {
  STRATA_CHECK(!differences.empty() && !differences[0].empty());
  SeedEstimate out;
  for (const std::vector<double>& seed : differences) {
    STRATA_CHECK(seed.size() == differences[0].size(), "{} {}", seed.size(), differences[0].size());
    out.seed_means.push_back(mean_of(seed).value);
  }
  const std::size_t seeds = differences.size();
  const Mean mean = mean_of(out.seed_means);
  out.value = mean.value;
  if (mean.standard_error)
    out.between_seed_sd = *mean.standard_error * std::sqrt(static_cast<double>(seeds));
  out.t = t_estimate(out.seed_means, options.confidence).interval;
  const auto clusters = members_of(options.clusters, differences[0].size());
  if (seeds > 1 && clusters.size() > 1) {
    const std::vector<double> means = resampled_means(differences, clusters, options);
    const double tail = (1 - options.confidence) / 2;
    out.bootstrap = Interval{quantile(means, tail), quantile(means, 1 - tail)};
  }
  if (seeds > 1) out.method = SeedMethod::kT;
  if (seeds >= kSeedsForBootstrap && out.bootstrap) out.method = SeedMethod::kBootstrap;
  return out;
}

}  // namespace strata
