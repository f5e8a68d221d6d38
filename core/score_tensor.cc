#include "core/score_tensor.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace strata {

std::vector<std::size_t> ScoreTensor::offsets() const {
  std::vector<std::size_t> out{0};
  for (const std::size_t count : positions) out.push_back(out.back() + count);
  return out;
}

std::vector<std::vector<double>> ScoreTensor::sample_gains() const {
  std::vector<std::vector<double>> out(samples.size(), std::vector<double>(units(), 0.0));
  const float* next = gains.data();
  for (std::size_t sample = 0; sample < samples.size(); ++sample)
    for (std::size_t unit = 0; unit < units(); ++unit) {
      double sum = 0;
      for (std::size_t i = 0; i < positions[sample]; ++i) sum += *next++;
      out[sample][unit] = sum / static_cast<double>(positions[sample]);
    }
  return out;
}

std::vector<double> ScoreTensor::sample_context_nll() const {
  std::vector<double> out;
  const float* next = context_nll.data();
  for (const std::size_t count : positions) {
    double sum = 0;
    for (std::size_t i = 0; i < count; ++i) sum += *next++;
    out.push_back(sum / static_cast<double>(count));
  }
  return out;
}

std::vector<double> ScoreTensor::scores() const {
  std::vector<double> out(units(), 0.0), seen(units(), 0.0);
  for (const std::vector<double>& sample : sample_gains())
    for (std::size_t unit = 0; unit < units(); ++unit) {
      if (std::isnan(sample[unit])) continue;
      out[unit] += sample[unit];
      ++seen[unit];
    }
  for (std::size_t unit = 0; unit < units(); ++unit) out[unit] /= seen[unit];  // 0 / 0: NaN
  return out;
}

void ScoreTensor::append(const ScoreTensor& more) {
  const auto behind = [](auto& own, const auto& others) {
    own.insert(own.end(), others.begin(), others.end());
  };
  behind(samples, more.samples);
  behind(clusters, more.clusters);
  behind(positions, more.positions);
  behind(context_nll, more.context_nll);
  behind(gains, more.gains);
}

std::vector<std::size_t> ranked(const std::vector<double>& scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (std::isnan(scores[a]) || std::isnan(scores[b]))
      return !std::isnan(scores[a]) && std::isnan(scores[b]);
    return scores[a] > scores[b];
  });
  return order;
}

}  // namespace strata
