#include "strategies/shared_scores.h"

#include <cmath>
#include <limits>

#include "core/sha256.h"
#include "models/parallel.h"
#include "strategies/searcher.h"

namespace strata {

Result<SharedScores> shared_scores(const SelectionRequest& request, SelectionContext& context,
                                   const nlohmann::json& key,
                                   const std::function<Result<SharedScores>()>& compute) {
  const nlohmann::json whole = {{"scorer", key},
                                {"model", context.model->model().id()},
                                {"calibration", context.calibration->id},
                                {"granularity", to_string(request.granularity)},
                                {"kept", to_json(request.kept)},
                                {"cheap", to_json(request.cheap)},
                                {"rule", to_string(request.rule)}};
  const std::string id = sha256_hex(whole.dump());
  if (context.cache != nullptr)
    if (const ScoreCache::Entry* known = context.cache->find(id))
      return SharedScores{known->scores, known->diagnostics, known->cost};
  const Meter before = context.model->meter();
  ASSIGN_OR_RETURN(SharedScores made, compute());
  if (context.cache != nullptr)
    context.cache->insert(id, {made.scores, made.diagnostics, context.model->meter() - before});
  return made;
}

Selection keep_highest(const SelectionRequest& request, SharedScores scored, std::size_t k) {
  Mask mask = top_k(request, scored.scores.score, k);
  return Selection{.mask = std::move(mask),
                   .scores = std::move(scored.scores),
                   .diagnostics = std::move(scored.diagnostics),
                   .reused_cost = scored.reused_cost};
}

UnitScores means_over_samples(const std::vector<std::vector<double>>& rows) {
  const auto n = static_cast<double>(rows.size());
  UnitScores scores;
  scores.standard_error.assign(rows[0].size(), std::numeric_limits<double>::quiet_NaN());
  for (std::size_t unit = 0; unit < rows[0].size(); ++unit) {
    double sum = 0, squares = 0;
    for (const std::vector<double>& row : rows) sum += row[unit];
    const double mean = sum / n;
    for (const std::vector<double>& row : rows) squares += (row[unit] - mean) * (row[unit] - mean);
    scores.score.push_back(mean);
    if (rows.size() > 1) scores.standard_error[unit] = std::sqrt(squares / (n - 1.0) / n);
  }
  return scores;
}

Status for_each_calibration_sample(SelectionContext& context, std::string_view stage,
                                   std::span<const Sample> samples,
                                   const std::function<Status(MeteredModel&, std::size_t)>& body) {
  STRATA_CHECK(!samples.empty());
  context.progress->begin(stage, static_cast<std::int64_t>(samples.size()));
  Status status = for_each_sample(
      *context.model, samples.size(), *context.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        Status done = body(model, i);
        if (!done)
          return fail(
              std::move(done).error().at("calibration sample " + samples[i].id.substr(0, 12)));
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
