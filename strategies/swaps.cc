#include "strategies/swaps.h"

#include <algorithm>

#include "core/score_tensor.h"
#include "strategies/race.h"

namespace strata {
namespace {

// The exchanges of a round, but none that leads back to a set left behind: weakest out first, then
// strongest in.
std::vector<Swap> exchanges(const Mask& mask, const std::vector<double>& scores,
                            std::size_t candidates, const std::vector<Mask>& left_behind) {
  std::vector<std::size_t> kept, dropped;  // strongest first
  for (const std::size_t unit : ranked(scores)) (mask.at(unit) ? kept : dropped).push_back(unit);
  std::reverse(kept.begin(), kept.end());
  kept.resize(std::min(kept.size(), candidates));
  dropped.resize(std::min(dropped.size(), candidates));
  std::vector<Swap> out;
  for (const std::size_t weak : kept)
    for (const std::size_t strong : dropped) {
      const Mask swapped = mask.with(weak, false).with(strong, true);
      if (std::find(left_behind.begin(), left_behind.end(), swapped) == left_behind.end())
        out.push_back({.out = weak, .in = strong});
    }
  return out;
}

nlohmann::json to_json(const Swap& swap) {
  return {{"out", swap.out},
          {"in", swap.in},
          {"gain", swap.gain.mean},
          {"standard_error", swap.gain.standard_error}};
}

// Losses of one mask, by calibration sample.
using SampleLosses = std::vector<double>;

struct Tried {
  Swap swap;
  std::vector<double> saved;  // in the order of the samples
};

// The best of the exchanges, each worth what it saves against `base`.
Result<Tried> best_of(const Mask& mask, std::vector<Swap> swaps, const SampleLosses& base,
                      std::span<const std::size_t> samples, const MaskLosses& losses,
                      std::size_t stages) {
  const auto saved = [&](std::span<const std::size_t> contenders,
                         std::span<const std::size_t> seen) {
    std::vector<MaskTrial> trials;
    for (const std::size_t c : contenders)
      trials.push_back(
          {mask.with(swaps[c].out, false).with(swaps[c].in, true), {seen.begin(), seen.end()}});
    Result<std::vector<std::vector<double>>> values = losses(trials);
    if (!values) return values;
    for (std::vector<double>& row : *values)
      for (std::size_t i = 0; i < row.size(); ++i) row[i] = base[seen[i]] - row[i];
    return values;
  };
  ASSIGN_OR_RETURN(const RaceResult raced, race(swaps.size(), samples, stages, saved));
  Tried best{swaps[raced.finalists[0]], raced.values[raced.finalists[0]]};
  best.swap.gain = mean_error(best.saved);
  return best;
}

}  // namespace

Result<SwapOutcome> refine_by_swaps(const Mask& start, const std::vector<double>& scores,
                                    std::span<const std::size_t> samples, const MaskLosses& losses,
                                    const SwapOptions& options) {
  if (samples.size() < 2)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "swaps are judged by a standard error over calibration samples; "
                           "expected at least 2 samples, got {}",
                           samples.size())
                    .with_hint("calibration.samples=8"));
  const auto measure = [&](const Mask& mask) -> Result<SampleLosses> {
    const MaskTrial trial{mask, {samples.begin(), samples.end()}};
    ASSIGN_OR_RETURN(const std::vector<std::vector<double>> rows, losses({&trial, 1}));
    SampleLosses out(1 + *std::max_element(samples.begin(), samples.end()));
    for (std::size_t i = 0; i < samples.size(); ++i) out[samples[i]] = rows[0][i];
    return out;
  };
  const auto mean = [&](const SampleLosses& values) {
    double sum = 0;
    for (const std::size_t sample : samples) sum += values[sample];
    return sum / static_cast<double>(samples.size());
  };
  ASSIGN_OR_RETURN(SampleLosses base, measure(start));
  SwapOutcome outcome{.mask = start, .start_nll = mean(base)};
  outcome.nll = outcome.start_nll;
  std::vector<Mask> left_behind;
  while (outcome.swaps.size() < options.rounds) {
    std::vector<Swap> swaps = exchanges(outcome.mask, scores, options.candidates, left_behind);
    if (swaps.empty()) break;
    ASSIGN_OR_RETURN(const Tried tried, best_of(outcome.mask, std::move(swaps), base, samples,
                                                losses, options.stages));
    const Swap& best = tried.swap;
    if (!(best.gain.mean > 0 && best.gain.mean > options.errors * best.gain.standard_error)) {
      outcome.refused = best;
      break;
    }
    left_behind.push_back(outcome.mask);
    outcome.mask = outcome.mask.with(best.out, false).with(best.in, true);
    outcome.swaps.push_back(best);
    outcome.nll -= best.gain.mean;
    for (std::size_t i = 0; i < samples.size(); ++i) base[samples[i]] -= tried.saved[i];
  }
  return outcome;
}

nlohmann::json to_json(const SwapOutcome& outcome) {
  nlohmann::json swaps = nlohmann::json::array();
  for (const Swap& swap : outcome.swaps) swaps.push_back(to_json(swap));
  return {{"start_nll", outcome.start_nll},
          {"nll", outcome.nll},
          {"swaps", std::move(swaps)},
          {"refused", outcome.refused ? to_json(*outcome.refused) : nlohmann::json()}};
}

}  // namespace strata
