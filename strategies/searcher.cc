#include "strategies/searcher.h"

#include <algorithm>
#include <limits>

#include "core/score_tensor.h"

namespace strata {
namespace {

// Places by falling score, the best 0; equal scores share their mean place.
std::vector<double> ranks(const std::vector<double>& scores) {
  std::vector<double> out;
  for (const double score : scores) {
    const auto better =
        std::count_if(scores.begin(), scores.end(), [&](double other) { return other > score; });
    const auto equal = std::count(scores.begin(), scores.end(), score);
    out.push_back(static_cast<double>(better) + static_cast<double>(equal - 1) / 2);
  }
  return out;
}

}  // namespace

std::vector<std::size_t> units_with(const Mask& mask, bool kept) {
  std::vector<std::size_t> units;
  for (std::size_t i = 0; i < mask.size(); ++i)
    if (mask.at(i) == kept) units.push_back(i);
  return units;
}

std::size_t units_in(const SelectionRequest& request) {
  return Mask(request.granularity, request.layout, false).size();
}

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
  SearchOutcome outcome{.mask = Mask(request.granularity, request.layout, false)};
  while (outcome.order.size() < k) {
    const std::vector<std::size_t> candidates = units_with(outcome.mask, false);
    ASSIGN_OR_RETURN(UnitScores scores, scorer.score(outcome.mask, candidates));
    const std::size_t best = ranked(scores.score)[0];
    const double gain = scores.score[best], context_nll = scores.context_nll;
    if (outcome.order.empty()) outcome.scores = std::move(scores);
    if (request.budget.mode == BudgetMode::kAtMost && !outcome.order.empty() && !(gain > 0)) break;
    outcome.mask = outcome.mask.with(best, true);
    outcome.order.push_back(best);
    if (outcome.nll.empty()) outcome.nll.push_back(context_nll);
    outcome.nll.push_back(context_nll - gain);
  }
  return outcome;
}

Result<SearchOutcome> greedy_backward(UnitScorer& scorer, const SelectionRequest& request,
                                      std::size_t k) {
  SearchOutcome outcome{.mask = Mask(request.granularity, request.layout, true)};
  while (outcome.mask.kept() > k) {
    const std::vector<std::size_t> candidates = units_with(outcome.mask, true);
    ASSIGN_OR_RETURN(UnitScores scores, scorer.score(outcome.mask, candidates));
    std::size_t worst = candidates[0];
    for (const std::size_t unit : candidates)
      if (scores.score[unit] < scores.score[worst]) worst = unit;
    if (outcome.nll.empty()) outcome.nll.push_back(scores.context_nll);
    outcome.nll.push_back(scores.context_nll + scores.score[worst]);
    if (outcome.order.empty()) outcome.scores = std::move(scores);
    outcome.mask = outcome.mask.with(worst, false);
    outcome.order.push_back(worst);
  }
  return outcome;
}

UnitScores bidirectional(const UnitScores& restore, const UnitScores& ablate) {
  UnitScores out;
  for (std::size_t unit = 0; unit < restore.score.size(); ++unit)
    out.score.push_back((restore.score[unit] + ablate.score[unit]) / 2);
  out.standard_error.assign(out.score.size(), std::numeric_limits<double>::quiet_NaN());
  if (restore.tensor == nullptr || ablate.tensor == nullptr) return out;
  const std::vector<std::vector<double>> added = restore.tensor->sample_gains();
  const std::vector<std::vector<double>> dropped = ablate.tensor->sample_gains();
  std::vector<double> mean(added.size());
  for (std::size_t unit = 0; unit < out.score.size(); ++unit) {
    for (std::size_t sample = 0; sample < added.size(); ++sample)
      mean[sample] = (added[sample][unit] + dropped[sample][unit]) / 2;
    out.standard_error[unit] = mean_error(mean).standard_error;
  }
  return out;
}

Mask top_k_by_rank(const SelectionRequest& request, const UnitScores& restore,
                   const UnitScores& ablate, std::size_t k) {
  const std::vector<double> above = ranks(restore.score), below = ranks(ablate.score);
  const std::vector<double> nats = bidirectional(restore, ablate).score;
  const auto size = static_cast<double>(nats.size());
  std::vector<double> merit;
  for (std::size_t unit = 0; unit < nats.size(); ++unit) {
    merit.push_back(size - (above[unit] + below[unit]) / 2);  // at least 1
    if (request.budget.mode == BudgetMode::kAtMost && !(nats[unit] > 0)) merit.back() -= 2 * size;
  }
  return top_k(request, merit, k);
}

}  // namespace strata
