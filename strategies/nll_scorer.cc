#include "strategies/nll_scorer.h"

#include <cmath>
#include <limits>

#include "models/parallel.h"
#include "models/row_plan.h"

namespace strata {

Result<std::vector<double>> NllScorer::toggles(MeteredModel& model, const Sample& sample,
                                               const Mask& context,
                                               std::span<const std::size_t> candidates) const {
  ASSIGN_OR_RETURN(const AttentionPlan base_plan, request_.plan(context));
  std::vector<AttentionPlan> plans;
  for (const std::size_t unit : candidates) {
    ASSIGN_OR_RETURN(AttentionPlan plan, request_.plan(context.with(unit, !context.at(unit))));
    plans.push_back(std::move(plan));
  }
  std::vector<double> nll;
  const ForcedRequest base{sample.prompt, sample.answer, &base_plan};
  if (!reuse_) {
    std::vector<ForcedRequest> requests{base};
    for (const AttentionPlan& plan : plans)
      requests.push_back({sample.prompt, sample.answer, &plan});
    ASSIGN_OR_RETURN(const std::vector<AnswerScore> scores, model.score(requests));
    for (const AnswerScore& score : scores) nll.push_back(score.mean_nll());
    return nll;
  }
  ASSIGN_OR_RETURN(const AttentionPlan cheap,
                   request_.plan(Mask(request_.granularity, request_.layout, false)));
  ASSIGN_OR_RETURN(const Trace trace, model.trace(base, shared_prefix(cheap)));
  nll.push_back(trace.score().mean_nll());
  const auto units = static_cast<std::size_t>(context.units());
  for (std::size_t first = 0; first < candidates.size();) {
    // Toggles of one layer share its batch.
    std::size_t last = first + 1;
    while (last < candidates.size() && candidates[last] / units == candidates[first] / units)
      ++last;
    ASSIGN_OR_RETURN(const std::vector<AnswerScore> scores,
                     model.resume(trace, static_cast<int>(candidates[first] / units),
                                  std::span(plans).subspan(first, last - first)));
    for (const AnswerScore& score : scores) nll.push_back(score.mean_nll());
    first = last;
  }
  return nll;
}

Result<UnitScores> NllScorer::score(const Mask& context, std::span<const std::size_t> candidates) {
  const std::vector<Sample>& samples = context_.calibration->samples;
  STRATA_CHECK(!samples.empty() && !candidates.empty());
  std::vector<std::vector<double>> nll(samples.size());  // [sample][0 = context, then candidates]
  context_.progress->begin("scoring units", static_cast<std::int64_t>(samples.size()));
  const Status status = for_each_sample(
      *context_.model, samples.size(), *context_.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        Result<std::vector<double>> here = toggles(model, samples[i], context, candidates);
        if (!here)
          return fail(
              std::move(here).error().at("calibration sample " + samples[i].id.substr(0, 12)));
        nll[i] = *std::move(here);
        return {};
      },
      [&](std::size_t) -> Status {
        context_.progress->advance(1);
        return {};
      });
  context_.progress->end();
  RETURN_IF_ERROR(status);

  UnitScores scores;
  scores.score.assign(context.size(), -std::numeric_limits<double>::infinity());
  scores.standard_error.assign(context.size(), std::numeric_limits<double>::quiet_NaN());
  scores.by_sample.assign(context.size(), {});
  const auto n = static_cast<double>(samples.size());
  for (const std::vector<double>& row : nll) scores.context_nll += row[0] / n;
  for (std::size_t c = 0; c < candidates.size(); ++c) {
    const std::size_t unit = candidates[c];
    // Gain of keeping the unit, whichever side of the toggle the context is on.
    const double sign = context.at(unit) ? -1.0 : 1.0;
    double mean = 0, squares = 0;
    for (const std::vector<double>& row : nll) {
      const double gain = sign * (row[0] - row[c + 1]);
      scores.by_sample[unit].push_back(gain);
      mean += gain / n;
    }
    for (const double gain : scores.by_sample[unit]) squares += (gain - mean) * (gain - mean);
    scores.score[unit] = mean;
    if (samples.size() > 1) scores.standard_error[unit] = std::sqrt(squares / (n - 1.0) / n);
  }
  return scores;
}

}  // namespace strata
