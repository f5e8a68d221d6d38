#include "strategies/race.h"

#include <algorithm>
#include <numeric>

#include "core/score_tensor.h"

namespace strata {
namespace {

// ⌈n / 2^halvings⌉
std::size_t halved(std::size_t n, std::size_t halvings) {
  for (; halvings > 0; --halvings) n = (n + 1) / 2;
  return n;
}

// Contenders by falling mean of their values; `alive` is ascending, so that ties go to the lower.
std::vector<std::size_t> by_mean(const std::vector<std::size_t>& alive,
                                 const std::vector<std::vector<double>>& values) {
  std::vector<double> means;
  means.reserve(alive.size());
  for (const std::size_t contender : alive) means.push_back(mean_error(values[contender]).mean);
  std::vector<std::size_t> order;
  for (const std::size_t place : ranked(means)) order.push_back(alive[place]);
  return order;
}

}  // namespace

Result<RaceResult> race(std::size_t contenders, std::span<const std::size_t> samples,
                        std::size_t stages, const RaceValues& values) {
  STRATA_CHECK(contenders > 0 && !samples.empty() && stages > 0);
  RaceResult result{.values = std::vector<std::vector<double>>(contenders)};
  std::vector<std::size_t> alive(contenders);
  std::iota(alive.begin(), alive.end(), std::size_t{0});
  std::size_t seen = 0;
  for (std::size_t left = stages; left-- > 0;) {
    const std::size_t end = halved(samples.size(), left);
    if (end > seen) {
      ASSIGN_OR_RETURN(const std::vector<std::vector<double>> fresh,
                       values(alive, samples.subspan(seen, end - seen)));
      for (std::size_t i = 0; i < alive.size(); ++i)
        result.values[alive[i]].insert(result.values[alive[i]].end(), fresh[i].begin(),
                                       fresh[i].end());
      result.evaluations += alive.size() * (end - seen);
      seen = end;
    }
    std::vector<std::size_t> order = by_mean(alive, result.values);
    if (left == 0) {
      result.finalists = std::move(order);
      break;
    }
    order.resize(std::min(order.size(), std::max<std::size_t>(2, (order.size() + 1) / 2)));
    std::sort(order.begin(), order.end());
    alive = std::move(order);
  }
  return result;
}

}  // namespace strata
