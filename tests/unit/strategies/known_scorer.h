// A scorer whose answers are known: the loss of every set on every sample is a function.
#pragma once

#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "strategies/mean_error.h"
#include "strategies/scorer.h"

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
    const SampleGains here = *gains(context, candidates, every);
    UnitScores scores;
    scores.score.assign(context.size(), -std::numeric_limits<double>::infinity());
    scores.standard_error.assign(context.size(), std::numeric_limits<double>::quiet_NaN());
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      const MeanError gain = mean_error(here.gains[c]);
      scores.score[candidates[c]] = gain.mean;
      scores.standard_error[candidates[c]] = gain.standard_error;
    }
    scores.context_nll = mean_error(here.context_nll).mean;
    return scores;
  }
  std::size_t samples() const override { return samples_; }
  Result<SampleGains> gains(const Mask& context, std::span<const std::size_t> candidates,
                            std::span<const std::size_t> samples) override {
    SampleGains out;
    for (const std::size_t sample : samples) out.context_nll.push_back(loss_(context, sample));
    for (const std::size_t unit : candidates) {
      std::vector<double>& row = out.gains.emplace_back();
      for (const std::size_t sample : samples)
        row.push_back(loss_(context.with(unit, false), sample) -
                      loss_(context.with(unit, true), sample));
    }
    toggles += candidates.size() * samples.size();
    return out;
  }

  int rounds = 0;           // calls of score()
  std::size_t toggles = 0;  // of one unit on one sample

 private:
  std::size_t samples_;
  Loss loss_;
};

}  // namespace strata::testing
