#include "strategies/nll_scorer.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "models/parallel.h"
#include "models/row_plan.h"

namespace strata {
namespace {

// Every score a mean over the tensor, so that whoever has the tensor has the scores.
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
  const std::vector<double> context = tensor.sample_context_nll();
  scores.context_nll = std::accumulate(context.begin(), context.end(), 0.0) / n;
  scores.tensor = std::make_shared<const ScoreTensor>(std::move(tensor));
  return scores;
}

}  // namespace

Result<NllScorer::NllRows> NllScorer::toggles(MeteredModel& model, const Sample& sample,
                                              const Mask& context,
                                              std::span<const std::size_t> candidates) const {
  ASSIGN_OR_RETURN(const AttentionPlan base_plan, request_.plan(context));
  std::vector<AttentionPlan> plans;
  for (const std::size_t unit : candidates) {
    ASSIGN_OR_RETURN(AttentionPlan plan, request_.plan(context.with(unit, !context.at(unit))));
    plans.push_back(std::move(plan));
  }
  NllRows nll;
  const auto collect = [&](std::vector<AnswerScore> scores) {
    for (AnswerScore& score : scores) nll.push_back(std::move(score.nll));
  };
  const ForcedRequest base{sample.prompt, sample.answer, &base_plan};
  if (!reuse_.on) {
    std::vector<ForcedRequest> requests{base};
    for (const AttentionPlan& plan : plans)
      requests.push_back({sample.prompt, sample.answer, &plan});
    ASSIGN_OR_RETURN(std::vector<AnswerScore> scores, model.score(requests));
    collect(std::move(scores));
    return nll;
  }
  ASSIGN_OR_RETURN(const AttentionPlan cheap,
                   request_.plan(Mask(request_.granularity, request_.layout, false)));
  const auto workers = static_cast<std::uint64_t>(context_.model->workers());
  ASSIGN_OR_RETURN(Trace trace,
                   model.trace(base, shared_prefix(cheap), reuse_.memory_bytes / workers));
  nll.push_back(trace.score().nll);
  const auto units = static_cast<std::size_t>(context.units());
  std::vector<Toggle> all;
  for (std::size_t i = 0; i < candidates.size(); ++i)
    all.push_back({static_cast<int>(candidates[i] / units), &plans[i]});
  ASSIGN_OR_RETURN(std::vector<AnswerScore> scores, model.resume(trace, all));
  collect(std::move(scores));
  return nll;
}

Result<std::vector<NllScorer::NllRows>> NllScorer::run(const Mask& context,
                                                       std::span<const std::size_t> candidates,
                                                       std::span<const std::size_t> samples) const {
  STRATA_CHECK(!samples.empty() && !candidates.empty());
  std::vector<NllRows> nll(samples.size());  // [sample][0 = context, then candidates][position]
  context_.progress->begin("scoring units", static_cast<std::int64_t>(samples.size()));
  const Status status = for_each_sample(
      *context_.model, samples.size(), *context_.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        const Sample& sample = context_.calibration->samples[samples[i]];
        Result<NllRows> here = toggles(model, sample, context, candidates);
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
  return scores_of(std::move(tensor), candidates);
}

Result<SampleGains> NllScorer::gains(const Mask& context, std::span<const std::size_t> candidates,
                                     std::span<const std::size_t> samples) {
  ASSIGN_OR_RETURN(const std::vector<NllRows> nll, run(context, candidates, samples));
  const auto mean = [](const std::vector<double>& row) {
    return std::accumulate(row.begin(), row.end(), 0.0) / static_cast<double>(row.size());
  };
  SampleGains out{.gains = std::vector<std::vector<double>>(candidates.size()), .context_nll = {}};
  for (const NllRows& rows : nll) {
    const double base = mean(rows[0]);
    out.context_nll.push_back(base);
    for (std::size_t c = 0; c < candidates.size(); ++c)
      out.gains[c].push_back((context.at(candidates[c]) ? -1.0 : 1.0) * (base - mean(rows[c + 1])));
  }
  return out;
}

}  // namespace strata
