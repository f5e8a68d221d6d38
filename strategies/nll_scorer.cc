#include "strategies/nll_scorer.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "models/parallel.h"
#include "strategies/mean_error.h"
#include "strategies/unit_scores.h"

namespace strata {
Result<std::vector<NllRows>> NllScorer::run(const Mask& context,
                                            std::span<const std::size_t> candidates,
                                            std::span<const std::size_t> samples) const {
  STRATA_CHECK(!samples.empty() && !candidates.empty());
  std::vector<Mask> masks{context};
  for (const std::size_t unit : candidates) masks.push_back(context.with(unit, !context.at(unit)));
  std::vector<NllRows> nll(samples.size());  // [sample][0 = context, then candidates][position]
  const int workers = context_.model->workers();
  context_.progress->begin("scoring units", static_cast<std::int64_t>(samples.size()));
  const Status status = for_each_sample(
      *context_.model, samples.size(), *context_.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        const Sample& sample = context_.calibration->samples[samples[i]];
        Result<NllRows> here = mask_nll(request_, model, workers, sample, masks, reuse_);
        if (!here)
          return fail(std::move(here).error().at("calibration sample " + sample.id.substr(0, 12)));
        nll[i] = *std::move(here);
        return {};
      },
      [&](std::size_t) -> Status {
        context_.progress->advance(1);
        return {};
      });
  context_.progress->end();
  RETURN_IF_ERROR(status);
  return nll;
}

std::size_t NllScorer::samples() const { return context_.calibration->samples.size(); }

Result<UnitScores> NllScorer::score(const Mask& context, std::span<const std::size_t> candidates) {
  const std::vector<Sample>& samples = context_.calibration->samples;
  std::vector<std::size_t> every(samples.size());
  std::iota(every.begin(), every.end(), std::size_t{0});
  ASSIGN_OR_RETURN(const std::vector<NllRows> nll, run(context, candidates, every));

  ScoreTensor tensor{.context = context};
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::vector<double>& base = nll[i][0];
    tensor.samples.push_back(samples[i].id);
    tensor.clusters.push_back(samples[i].cluster);
    tensor.positions.push_back(base.size());
    for (const double value : base) tensor.context_nll.push_back(static_cast<float>(value));
    const std::size_t begin = tensor.gains.size();
    tensor.gains.resize(begin + context.size() * base.size(),
                        std::numeric_limits<float>::quiet_NaN());
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      // Gain of keeping the unit, whichever side of the toggle the context is on.
      const double sign = context.at(candidates[c]) ? -1.0 : 1.0;
      for (std::size_t p = 0; p < base.size(); ++p)
        tensor.gains[begin + candidates[c] * base.size() + p] =
            static_cast<float>(sign * (base[p] - nll[i][c + 1][p]));
    }
  }
  const double context_nll = mean_error(tensor.sample_context_nll()).mean;
  UnitScores scores = scores_of(std::move(tensor), candidates);
  scores.context_nll = context_nll;
  return scores;
}

Result<SampleGains> NllScorer::gains(const Mask& context, std::span<const std::size_t> candidates,
                                     std::span<const std::size_t> samples) {
  ASSIGN_OR_RETURN(const std::vector<NllRows> nll, run(context, candidates, samples));
  SampleGains out{.gains = std::vector<std::vector<double>>(candidates.size()), .context_nll = {}};
  for (const NllRows& rows : nll) {
    const double base = mean_error(rows[0]).mean;
    out.context_nll.push_back(base);
    for (std::size_t c = 0; c < candidates.size(); ++c)
      out.gains[c].push_back((context.at(candidates[c]) ? -1.0 : 1.0) *
                             (base - mean_error(rows[c + 1]).mean));
  }
  return out;
}

}  // namespace strata
