#include "strategies/unit_scores.h"

#include <limits>

#include "core/sha256.h"
#include "strategies/mean_error.h"

namespace strata {

UnitScores scores_of(ScoreTensor tensor, std::span<const std::size_t> candidates) {
  UnitScores scores;
  scores.score.assign(tensor.units(), -std::numeric_limits<double>::infinity());
  scores.standard_error.assign(tensor.units(), std::numeric_limits<double>::quiet_NaN());
  const std::vector<std::vector<double>> gains = tensor.sample_gains();
  const std::vector<double> means = tensor.scores();
  std::vector<double> of_unit(gains.size());
  for (const std::size_t unit : candidates) {
    for (std::size_t i = 0; i < gains.size(); ++i) of_unit[i] = gains[i][unit];
    scores.score[unit] = means[unit];
    scores.standard_error[unit] = mean_error(of_unit).standard_error;
  }
  scores.tensor = std::make_shared<const ScoreTensor>(std::move(tensor));
  return scores;
}

UnitScores plain_scores(std::vector<double> scores) {
  UnitScores out{.score = std::move(scores)};
  out.standard_error.assign(out.score.size(), std::numeric_limits<double>::quiet_NaN());
  return out;
}

nlohmann::json scored_for(const SelectionRequest& request, const SelectionContext& context) {
  return {
      {"model", context.model->model().id()},   {"dtype", context.model->model().options().dtype},
      {"calibration", context.calibration->id}, {"granularity", to_string(request.granularity)},
      {"kept", to_json(request.kept)},          {"cheap", to_json(request.cheap)},
      {"rule", to_string(request.rule)}};
}

Result<SharedScores> shared_scores(const SelectionRequest& request, SelectionContext& context,
                                   nlohmann::json method,
                                   const std::function<Result<ScoreCache::Entry>()>& compute) {
  method["for"] = scored_for(request, context);
  const std::string key = sha256_hex(method.dump());
  if (context.cache != nullptr)
    if (const ScoreCache::Entry* known = context.cache->find(key))
      return SharedScores{*known, known->cost};
  const Meter before = context.model->meter();
  ASSIGN_OR_RETURN(ScoreCache::Entry entry, compute());
  entry.cost = context.model->meter() - before;
  if (context.cache != nullptr) context.cache->insert(key, entry);
  return SharedScores{std::move(entry), {}};
}

}  // namespace strata
