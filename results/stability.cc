#include "results/stability.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/correlation.h"
#include "core/jaccard.h"
#include "core/result.h"
#include "core/rng.h"
#include "core/score_tensor.h"

namespace strata {
namespace {

using Scores = std::vector<double>;

constexpr std::size_t kFewestClusters = 4;

// Sums of the gains over each cluster and how many there are: a set of clusters is scored by adding
// these.
struct ClusterGains {
  std::vector<Scores> sums, counts;  // [cluster][unit]

  ClusterGains(const std::vector<Scores>& gains, std::span<const std::size_t> clusters)
      : sums(1 + *std::max_element(clusters.begin(), clusters.end()), Scores(gains[0].size(), 0.0)),
        counts(sums) {
    for (std::size_t i = 0; i < gains.size(); ++i)
      for (std::size_t unit = 0; unit < gains[i].size(); ++unit) {
        if (std::isnan(gains[i][unit])) continue;
        sums[clusters[i]][unit] += gains[i][unit];
        counts[clusters[i]][unit] += 1;
      }
  }

  Scores mean_over(std::span<const std::size_t> chosen) const {
    Scores mean(sums[0].size(), 0.0), count(mean);
    for (const std::size_t cluster : chosen)
      for (std::size_t unit = 0; unit < mean.size(); ++unit) {
        mean[unit] += sums[cluster][unit];
        count[unit] += counts[cluster][unit];
      }
    for (std::size_t unit = 0; unit < mean.size(); ++unit) mean[unit] /= count[unit];  // 0/0: NaN
    return mean;
  }
};

// Of the units that both have a score of.
std::optional<double> correlation_of(const Scores& a, const Scores& b) {
  Scores of_a, of_b;
  for (std::size_t unit = 0; unit < a.size(); ++unit) {
    if (std::isnan(a[unit]) || std::isnan(b[unit])) continue;
    of_a.push_back(a[unit]);
    of_b.push_back(b[unit]);
  }
  if (of_a.size() < 2) return std::nullopt;
  return spearman(of_a, of_b);
}

std::vector<std::size_t> selected(Scores scores, std::size_t k, SelectedEnd end) {
  if (end == SelectedEnd::kBottom)
    for (double& score : scores) score = -score;
  std::vector<std::size_t> order = ranked(scores);
  order.resize(std::min(k, order.size()));
  return order;
}

}  // namespace

std::optional<Stability> stability_of(const std::vector<std::vector<double>>& gains,
                                      std::span<const std::size_t> clusters, std::size_t k,
                                      SelectedEnd end, const StabilityOptions& options) {
  STRATA_CHECK(gains.size() == clusters.size(), "{} {}", gains.size(), clusters.size());
  if (gains.empty()) return std::nullopt;
  const ClusterGains data(gains, clusters);
  const std::size_t count = data.sums.size();
  if (count < kFewestClusters) return std::nullopt;

  Stability out;
  Rng splits(options.seed, "stability.half_splits");
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  double correlation = 0;
  bool correlated = true;
  for (int split = 0; split < options.half_splits; ++split) {
    splits.shuffle(order);
    const std::span<const std::size_t> all(order);
    const Scores first = data.mean_over(all.first(count / 2));
    const Scores second = data.mean_over(all.subspan(count / 2));
    out.jaccard += jaccard(selected(first, k, end), selected(second, k, end));
    const std::optional<double> r = correlation_of(first, second);
    correlated &= r.has_value();
    correlation += r.value_or(0);
  }
  out.jaccard /= options.half_splits;
  correlation /= options.half_splits;
  if (correlated && correlation > -1) out.rank_correlation = 2 * correlation / (1 + correlation);

  Rng draws(options.seed, "stability.bootstrap");
  out.inclusion.assign(gains[0].size(), 0.0);
  std::vector<std::size_t> resample(count);
  for (int draw = 0; draw < options.bootstrap_draws; ++draw) {
    for (std::size_t& cluster : resample) cluster = static_cast<std::size_t>(draws.below(count));
    for (const std::size_t unit : selected(data.mean_over(resample), k, end))
      out.inclusion[unit] += 1.0 / options.bootstrap_draws;
  }
  return out;
}

}  // namespace strata
