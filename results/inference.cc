#include "results/inference.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <numeric>

#include "core/result.h"
#include "core/rng.h"

namespace strata {
namespace {

using boost::math::students_t;

double normal_quantile(double q) { return boost::math::quantile(boost::math::normal(), q); }

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

PValue cluster_sign_flip(std::span<const double> differences, std::span<const std::size_t> clusters,
                         const SignFlipOptions& options) {
  const auto members = members_of(clusters, differences.size());
  if (members.size() < kClustersForInference)
    return InferenceNotSupported{members.size(), kClustersForInference};
  std::vector<double> sums;
  double scale = 0;
  for (const auto& cluster : members) {
    double sum = 0;
    for (const std::size_t sample : cluster) sum += differences[sample];
    sums.push_back(sum);
    scale += std::abs(sum);
  }
  // Flips that give the same sum in another order must count as equal.
  const double observed = std::abs(std::accumulate(sums.begin(), sums.end(), 0.0)) - 1e-12 * scale;
  Rng rng(options.seed, "inference.sign_flip");
  int as_far = 0;
  for (int flip = 0; flip < options.flips; ++flip) {
    double sum = 0;
    std::uint64_t bits = 0;
    for (std::size_t k = 0; k < sums.size(); ++k) {
      if (k % 64 == 0) bits = rng.next_u64();
      sum += (bits >> (k % 64) & 1U) != 0 ? sums[k] : -sums[k];
    }
    as_far += std::abs(sum) >= observed ? 1 : 0;
  }
  return (1.0 + as_far) / (1.0 + options.flips);
}

std::vector<double> holm(std::span<const double> p_values, std::size_t family) {
  if (family == 0) family = p_values.size();
  STRATA_CHECK(family >= p_values.size(), "{} {}", family, p_values.size());
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  std::vector<double> out(p_values.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, static_cast<double>(family - rank) * p_values[order[rank]]);
    out[order[rank]] = std::min(1.0, largest);
  }
  return out;
}

std::string_view to_string(Equivalence answer) {
  switch (answer) {
    case Equivalence::kEquivalent: return "equivalent";
    case Equivalence::kDifferent: return "different";
    case Equivalence::kInconclusive: return "inconclusive";
  }
  return "";
}

EquivalenceTest equivalence(std::span<const double> values, double margin, double alpha) {
  STRATA_CHECK(margin > 0 && alpha > 0 && alpha < 0.5, "{} {}", margin, alpha);
  const Mean mean = mean_of(values);
  EquivalenceTest out{.mean = mean.value};
  if (!mean.standard_error) return out;
  const double error = *mean.standard_error;
  const auto n = static_cast<double>(values.size());
  out.n_needed = equivalence_samples(error * std::sqrt(n), margin, alpha);
  out.interval = t_estimate(values, 1 - 2 * alpha).interval;
  const double room = margin - std::abs(mean.value);  // to the nearer bound: its p is the larger
  if (error > 0)
    out.p = boost::math::cdf(boost::math::complement(students_t(n - 1), room / error));
  else
    out.p = room > 0 ? 0 : 1;
  const Interval two_sided = *t_estimate(values, 1 - alpha).interval;
  if (*out.p < alpha)
    out.answer = Equivalence::kEquivalent;
  else if (two_sided.low > 0 || two_sided.high < 0)
    out.answer = Equivalence::kDifferent;
  return out;
}

std::size_t equivalence_samples(double sd, double margin, double alpha, double power) {
  STRATA_CHECK(sd >= 0 && margin > 0, "{} {}", sd, margin);
  const double z = normal_quantile(1 - alpha) + normal_quantile(1 - (1 - power) / 2);
  return std::max<std::size_t>(2,
                               static_cast<std::size_t>(std::ceil(std::pow(z * sd / margin, 2))));
}

std::variant<InferenceNotSupported, NonInferiority> non_inferiority(
    std::span<const double> seed_means, double margin, double alpha) {
  if (seed_means.size() < kSeedsForClaim)
    return InferenceNotSupported{seed_means.size(), kSeedsForClaim};
  const Mean mean = mean_of(seed_means);
  const double error = *mean.standard_error;
  const students_t t(static_cast<double>(seed_means.size() - 1));
  NonInferiority out{.mean = mean.value};
  out.upper = mean.value + boost::math::quantile(t, 1 - alpha) * error;
  if (error > 0)
    out.p = boost::math::cdf(t, (mean.value - margin) / error);
  else
    out.p = mean.value < margin ? 0 : 1;
  out.shown = out.p < alpha;
  return out;
}

}  // namespace strata
