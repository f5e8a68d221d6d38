#include "strategies/shared_scores.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "core/sha256.h"
#include "models/parallel.h"
#include "strategies/mean_error.h"
#include "strategies/searcher.h"

namespace strata {

nlohmann::json scored_for(const SelectionRequest& request, const SelectionContext& context) {
  return {
      {"model", context.model->model().id()},   {"dtype", context.model->model().options().dtype},
      {"calibration", context.calibration->id}, {"granularity", to_string(request.granularity)},
      {"kept", to_json(request.kept)},          {"cheap", to_json(request.cheap)},
      {"rule", to_string(request.rule)}};
}

Result<SharedScores> shared_scores(const SelectionRequest& request, SelectionContext& context,
                                   const nlohmann::json& key,
                                   const std::function<Result<SharedScores>()>& compute) {
  const nlohmann::json whole = {{"scorer", key}, {"for", scored_for(request, context)}};
  const std::string id = sha256_hex(whole.dump());
  if (context.cache != nullptr)
    if (const ScoreCache::Entry* known = context.cache->find(id))
      return SharedScores{known->scores, known->diagnostics, known->training, known->cost};
  const Meter before = context.model->meter();
  ASSIGN_OR_RETURN(SharedScores made, compute());
  if (context.cache != nullptr)
    context.cache->insert(
        id, {made.scores, made.diagnostics, made.training, context.model->meter() - before});
  return made;
}

Selection keep_highest(const SelectionRequest& request, SharedScores scored, std::size_t k) {
  Mask mask = top_k(request, scored.scores.score, k);
  return Selection{.mask = std::move(mask),
                   .scores = std::move(scored.scores),
                   .diagnostics = std::move(scored.diagnostics),
                   .training = std::move(scored.training),
                   .reused_cost = scored.reused_cost};
}

UnitScores means_over_samples(const std::vector<std::vector<double>>& rows) {
  UnitScores scores;
  std::vector<double> of_unit;
  for (std::size_t unit = 0; unit < rows[0].size(); ++unit) {
    of_unit.clear();
    for (const std::vector<double>& row : rows)
      if (!std::isnan(row[unit])) of_unit.push_back(row[unit]);
    const MeanError here = of_unit.empty() ? MeanError{-std::numeric_limits<double>::infinity(),
                                                       std::numeric_limits<double>::quiet_NaN()}
                                           : mean_error(of_unit);
    scores.score.push_back(here.mean);
    scores.standard_error.push_back(here.standard_error);
  }
  return scores;
}

UnitScores scores_of(ScoreTensor tensor) {
  UnitScores scores = means_over_samples(tensor.sample_gains());
  if (tensor.kind == GainKind::kToggle)
    scores.context_nll = mean_error(tensor.sample_context_nll()).mean;
  scores.tensor = std::make_shared<const ScoreTensor>(std::move(tensor));
  return scores;
}

UnitScores plain_scores(std::vector<double> scores) {
  UnitScores out{.score = std::move(scores)};
  out.standard_error.assign(out.score.size(), std::numeric_limits<double>::quiet_NaN());
  return out;
}

std::string name_of(const Sample& sample) {
  return "calibration sample " + sample.id.substr(0, 12);
}

std::vector<std::size_t> all_samples(const CalibrationSet& calibration) {
  std::vector<std::size_t> all(calibration.samples.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}

Status for_each_calibration_sample(SelectionContext& context, std::string_view stage,
                                   std::span<const std::size_t> samples,
                                   const std::function<Status(MeteredModel&, std::size_t)>& body) {
  STRATA_CHECK(!samples.empty());
  context.progress->begin(stage, static_cast<std::int64_t>(samples.size()));
  Status status = for_each_sample(
      *context.model, samples.size(), *context.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        Status done = body(model, i);
        if (!done)
          return fail(
              std::move(done).error().at(name_of(context.calibration->samples[samples[i]])));
        return done;
      },
      [&](std::size_t) -> Status {
        context.progress->advance(1);
        return {};
      });
  context.progress->end();
  return status;
}

}  // namespace strata
