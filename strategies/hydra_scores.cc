#include "strategies/hydra_scores.h"

#include <algorithm>

#include "core/result.h"

namespace strata {
namespace {

// Effects in both roles of each case that counts for consistency.
struct Capability {
  std::vector<HeadEffects> cases;
  HeadEffects mean;
};

HeadEffects mean_of(std::span<const HeadEffects> all) {
  HeadEffects mean{std::vector<double>(all[0].receiver.size(), 0.0), {}};
  mean.sender = mean.receiver;
  const auto count = static_cast<double>(all.size());
  for (const HeadEffects& one : all)
    for (std::size_t head = 0; head < mean.receiver.size(); ++head) {
      mean.receiver[head] += one.receiver[head] / count;
      mean.sender[head] += one.sender[head] / count;
    }
  return mean;
}

// From the least to the greatest as 0 to 1; all 0 where they are equal.
std::vector<double> scaled(const std::vector<double>& values) {
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  std::vector<double> out;
  out.reserve(values.size());
  for (const double value : values)
    out.push_back(*greatest > *least ? (value - *least) / (*greatest - *least) : 0.0);
  return out;
}

}  // namespace

std::vector<double> mean_effects(const ProbeEffects& probe, bool sender) {
  HeadEffects mean = mean_of(probe.pairs);
  return sender ? std::move(mean.sender) : std::move(mean.receiver);
}

HydraScores hydra_scores(std::span<const ProbeEffects> probes, double threshold,
                         HydraConsistency consistency) {
  STRATA_CHECK(!probes.empty());
  std::vector<HeadEffects> of_probes;
  for (const ProbeEffects& probe : probes) of_probes.push_back(mean_of(probe.pairs));
  const HeadEffects overall = mean_of(of_probes);
  std::vector<Capability> capabilities;
  if (consistency == HydraConsistency::kProbes)
    capabilities.push_back({of_probes, overall});
  else
    for (std::size_t i = 0; i < probes.size(); ++i)
      capabilities.push_back({probes[i].pairs, of_probes[i]});

  const std::size_t heads = overall.receiver.size();
  HydraScores out{.receiver = overall.receiver,
                  .sender = overall.sender,
                  .consistency = std::vector<double>(heads, 0.0),
                  .score = std::vector<double>(heads, 0.0)};
  std::vector<double> effect(heads, 0.0);
  const auto count = static_cast<double>(capabilities.size());
  for (const Capability& capability : capabilities) {
    std::vector<double> product;
    for (std::size_t head = 0; head < heads; ++head) {
      const bool sends = capability.mean.sender[head] > capability.mean.receiver[head];
      const double strong = sends ? capability.mean.sender[head] : capability.mean.receiver[head];
      const auto above = std::count_if(
          capability.cases.begin(), capability.cases.end(), [&](const HeadEffects& one) {
            return (sends ? one.sender[head] : one.receiver[head]) > threshold;
          });
      const double kappa =
          static_cast<double>(above) / static_cast<double>(capability.cases.size());
      product.push_back(strong * kappa);
      effect[head] += strong / count;
      out.consistency[head] += kappa / count;
    }
    const std::vector<double> of_one = scaled(product);
    for (std::size_t head = 0; head < heads; ++head) out.score[head] += of_one[head] / count;
  }
  constexpr double kOrder = 1e-9;
  const std::vector<double> order = scaled(effect);
  for (std::size_t head = 0; head < heads; ++head) out.score[head] += kOrder * (order[head] - 1);
  return out;
}

}  // namespace strata
