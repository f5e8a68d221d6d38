#include "strategies/searcher.h"

#include <algorithm>

#include "core/score_tensor.h"

namespace strata {
namespace {

std::vector<std::size_t> units_with(const Mask& mask, bool kept) {
  std::vector<std::size_t> units;
  for (std::size_t i = 0; i < mask.size(); ++i)
    if (mask.at(i) == kept) units.push_back(i);
  return units;
}

}  // namespace

Result<std::size_t> units_of(const SelectionRequest& request) {
  return units_to_keep(request.budget, request.layout, request.granularity);
}

Mask top_k(const SelectionRequest& request, const std::vector<double>& scores, std::size_t k) {
  Mask mask(request.granularity, request.layout, false);
  const std::vector<std::size_t> order = ranked(scores);
  for (std::size_t i = 0; i < k; ++i) {
    if (request.budget.mode == BudgetMode::kAtMost && i > 0 && !(scores[order[i]] > 0)) break;
    mask = mask.with(order[i], true);
  }
  return mask;
}

Mask bottom_k(const SelectionRequest& request, const std::vector<double>& scores, std::size_t k) {
  std::vector<double> negated(scores.size());
  std::transform(scores.begin(), scores.end(), negated.begin(), [](double s) { return -s; });
  Mask mask(request.granularity, request.layout, false);
  const std::vector<std::size_t> order = ranked(negated);
  for (std::size_t i = 0; i < k; ++i) mask = mask.with(order[i], true);
  return mask;
}

Result<SearchOutcome> greedy_forward(UnitScorer& scorer, const SelectionRequest& request,
                                     std::size_t k) {
  SearchOutcome outcome{Mask(request.granularity, request.layout, false), {}, {}};
  while (outcome.order.size() < k) {
    const std::vector<std::size_t> candidates = units_with(outcome.mask, false);
    ASSIGN_OR_RETURN(UnitScores scores, scorer.score(outcome.mask, candidates));
    const std::size_t best = ranked(scores.score)[0];
    const bool gains = scores.score[best] > 0;
    if (outcome.order.empty()) outcome.scores = std::move(scores);
    if (request.budget.mode == BudgetMode::kAtMost && !outcome.order.empty() && !gains) break;
    outcome.mask = outcome.mask.with(best, true);
    outcome.order.push_back(best);
  }
  return outcome;
}

Result<SearchOutcome> greedy_backward(UnitScorer& scorer, const SelectionRequest& request,
                                      std::size_t k) {
  SearchOutcome outcome{Mask(request.granularity, request.layout, true), {}, {}};
  while (outcome.mask.kept() > k) {
    const std::vector<std::size_t> candidates = units_with(outcome.mask, true);
    ASSIGN_OR_RETURN(UnitScores scores, scorer.score(outcome.mask, candidates));
    std::size_t worst = candidates[0];
    for (const std::size_t unit : candidates)
      if (scores.score[unit] < scores.score[worst]) worst = unit;
    if (outcome.order.empty()) outcome.scores = std::move(scores);
    outcome.mask = outcome.mask.with(worst, false);
    outcome.order.push_back(worst);
  }
  return outcome;
}

}  // namespace strata
