#include "strategies/searcher.h"

#include <algorithm>

#include "core/score_tensor.h"
#include "strategies/shared_scores.h"

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
  const ScoreTensor &first = *restore.tensor, &second = *ablate.tensor;
  STRATA_CHECK(first.samples == second.samples && first.positions == second.positions);
  ScoreTensor both{.context = first.context,
                   .kind = GainKind::kBothSides,
                   .samples = first.samples,
                   .clusters = first.clusters};
  const float *nll_first = first.context_nll.data(), *nll_second = second.context_nll.data();
  const float *first_gain = first.gains.data(), *second_gain = second.gains.data();
  // `count` numbers of one, then of the other.
  const auto take = [](std::vector<float>& out, const float*& a, const float*& b,
                       std::size_t count) {
    out.insert(out.end(), a, a + count);
    out.insert(out.end(), b, b + count);
    a += count;
    b += count;
  };
  for (const std::size_t count : first.positions) {
    both.positions.push_back(2 * count);
    take(both.context_nll, nll_first, nll_second, count);
    for (std::size_t unit = 0; unit < first.units(); ++unit)
      take(both.gains, first_gain, second_gain, count);
  }
  return scores_of(std::move(both));
}

Mask top_k_by_rank(const SelectionRequest& request, const UnitScores& restore,
                   const UnitScores& ablate, std::size_t k) {
  const std::vector<double> above = ranks(restore.score), below = ranks(ablate.score);
  const auto size = static_cast<double>(above.size());
  std::vector<double> merit;
  for (std::size_t unit = 0; unit < above.size(); ++unit) {
    merit.push_back(size - (above[unit] + below[unit]) / 2);  // at least 1
    const double nats = restore.score[unit] + ablate.score[unit];
    if (request.budget.mode == BudgetMode::kAtMost && !(nats > 0)) merit.back() -= 2 * size;
  }
  return top_k(request, merit, k);
}

}  // namespace strata
