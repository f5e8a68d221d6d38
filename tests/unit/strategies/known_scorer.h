// A scorer whose answers are known, up to the rounding of tensors: the loss of every set on every
// sample is a function.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "strategies/scorer.h"
#include "strategies/shared_scores.h"

namespace strata::testing {

class KnownScorer final : public SampledScorer {
 public:
  using Loss = std::function<double(const Mask&, std::size_t sample)>;
  KnownScorer(std::size_t samples, Loss loss) : samples_(samples), loss_(std::move(loss)) {}
  // One sample, and what sets are worth.
  explicit KnownScorer(std::function<double(const Mask&)> value)
      : KnownScorer(
            1, [value = std::move(value)](const Mask& mask, std::size_t) { return -value(mask); }) {
  }

  Result<UnitScores> score(const Mask& context, std::span<const std::size_t> candidates) override {
    std::vector<std::size_t> every(samples_);
    for (std::size_t i = 0; i < samples_; ++i) every[i] = i;
    ++rounds;
    UnitScores scores = scores_of(*gains(context, candidates, every));
    if (!accuracy) return scores;
    scores.context_accuracy = accuracy(context);
    scores.accuracy.assign(context.size(), 0.0);
    for (const std::size_t unit : candidates)
      scores.accuracy[unit] = accuracy(context.with(unit, !context.at(unit)));
    return scores;
  }
  std::size_t samples() const override { return samples_; }
  Result<ScoreTensor> gains(const Mask& context, std::span<const std::size_t> candidates,
                            std::span<const std::size_t> samples) override {
    ScoreTensor out{.context = context};
    for (const std::size_t sample : samples) {
      out.samples.push_back(std::to_string(sample));
      out.clusters.emplace_back();
      out.positions.push_back(1);
      out.context_nll.push_back(static_cast<float>(loss_(context, sample)));
      std::vector<float> row(context.size(), std::numeric_limits<float>::quiet_NaN());
      for (const std::size_t unit : candidates)
        row[unit] = static_cast<float>(loss_(context.with(unit, false), sample) -
                                       loss_(context.with(unit, true), sample));
      out.gains.insert(out.gains.end(), row.begin(), row.end());
    }
    toggles += candidates.size() * samples.size();
    return out;
  }

  std::function<double(const Mask&)> accuracy;  // of sets, where it has one
  int rounds = 0;                               // calls of score()
  std::size_t toggles = 0;                      // of one unit on one sample

 private:
  std::size_t samples_;
  Loss loss_;
};

}  // namespace strata::testing
