#include "strategies/unit_scores.h"

#include <cmath>
#include <limits>

namespace strata {

UnitScores scores_of(ScoreTensor tensor, std::span<const std::size_t> candidates) {
  UnitScores scores;
  scores.score.assign(tensor.units(), -std::numeric_limits<double>::infinity());
  scores.standard_error.assign(tensor.units(), std::numeric_limits<double>::quiet_NaN());
  const std::vector<std::vector<double>> gains = tensor.sample_gains();
  const std::vector<double> means = tensor.scores();
  const auto n = static_cast<double>(gains.size());
  for (const std::size_t unit : candidates) {
    double squares = 0;
    for (const std::vector<double>& sample : gains)
      squares += (sample[unit] - means[unit]) * (sample[unit] - means[unit]);
    scores.score[unit] = means[unit];
    if (gains.size() > 1) scores.standard_error[unit] = std::sqrt(squares / (n - 1.0) / n);
  }
  scores.tensor = std::make_shared<const ScoreTensor>(std::move(tensor));
  return scores;
}

}  // namespace strata
