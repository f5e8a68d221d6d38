// Greedy search whose rounds are races over the calibration samples.
#include <numeric>

#include "core/rng.h"
#include "strategies/race.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

// One round: every candidate in one context.
struct Round {
  RaceResult raced;
  ScoreTensor tensor{};  // samples as the race came to them
};

Result<Round> run_round(SampledScorer& scorer, const Mask& context, bool adding,
                        std::span<const std::size_t> candidates,
                        std::span<const std::size_t> samples, std::size_t stages) {
  ScoreTensor tensor{.context = context};
  const auto values =
      [&](std::span<const std::size_t> contenders,
          std::span<const std::size_t> seen) -> Result<std::vector<std::vector<double>>> {
    std::vector<std::size_t> units;
    for (const std::size_t contender : contenders) units.push_back(candidates[contender]);
    ASSIGN_OR_RETURN(const ScoreTensor here, scorer.gains(context, units, seen));
    tensor.append(here);
    std::vector<std::vector<double>> rows(units.size());
    for (const std::vector<double>& sample : here.sample_gains())
      for (std::size_t i = 0; i < units.size(); ++i)
        rows[i].push_back(adding ? sample[units[i]] : -sample[units[i]]);
    return rows;
  };
  ASSIGN_OR_RETURN(RaceResult raced, race(candidates.size(), samples, stages, values));
  return Round{std::move(raced), std::move(tensor)};
}

MeanError lead_of(const RaceResult& raced) {
  std::vector<double> lead = raced.values[raced.finalists[0]];
  const std::vector<double>& second = raced.values[raced.finalists[1]];
  for (std::size_t i = 0; i < lead.size(); ++i) lead[i] -= second[i];
  return mean_error(lead);
}

}  // namespace

Result<SearchOutcome> racing(SampledScorer& scorer, const SelectionRequest& request, std::size_t k,
                             std::size_t stages, SearchFrom from) {
  const bool adding = from == SearchFrom::kNothing;
  const bool may_stop = adding && request.budget.mode == BudgetMode::kAtMost;
  SearchOutcome outcome{.mask = Mask(request.granularity, request.layout, !adding)};
  std::vector<std::size_t> samples(scorer.samples());
  while (outcome.mask.kept() != k) {
    const std::vector<std::size_t> candidates = units_with(outcome.mask, !adding);
    std::iota(samples.begin(), samples.end(), std::size_t{0});
    Rng(request.seed, fmt::format("racing round {}", outcome.order.size())).shuffle(samples);
    ASSIGN_OR_RETURN(Round round,
                     run_round(scorer, outcome.mask, adding, candidates, samples, stages));
    const double context_nll = mean_error(round.tensor.sample_context_nll()).mean;
    const std::size_t winner = round.raced.finalists[0];
    const double gain = mean_error(round.raced.values[winner]).mean;
    if (outcome.order.empty()) outcome.scores = scores_of(std::move(round.tensor));
    if (may_stop && !outcome.order.empty() && !(gain > 0)) break;
    outcome.mask = outcome.mask.with(candidates[winner], adding);
    outcome.order.push_back(candidates[winner]);
    if (outcome.nll.empty()) outcome.nll.push_back(context_nll);
    outcome.nll.push_back(context_nll - gain);
    if (round.raced.finalists.size() > 1) outcome.leads.push_back(lead_of(round.raced));
  }
  return outcome;
}

}  // namespace strata
