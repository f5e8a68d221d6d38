#include "results/reports/leaderboard_draws.h"

#include <algorithm>

#include "results/statistics.h"

namespace strata {

namespace {

std::optional<double> number_of(const std::optional<Estimate>& estimate) {
  return estimate ? std::optional(estimate->value) : std::nullopt;
}
std::optional<double> number_of(const std::optional<double>& number) { return number; }
std::optional<double> number_of(double number) { return number; }

// Of the draws that have one.
template <typename Member>
std::vector<double> values_of(const std::vector<LeaderboardRow>& draws, Member member) {
  std::vector<double> values;
  for (const LeaderboardRow& draw : draws)
    if (const std::optional<double> value = number_of(draw.*member)) values.push_back(*value);
  return values;
}

}  // namespace

LeaderboardRow row_of_draws(const std::vector<LeaderboardRow>& draws, std::string name) {
  const auto over = [&](auto member) -> std::optional<Estimate> {
    const std::vector<double> values = values_of(draws, member);
    return values.empty() ? std::nullopt : std::optional(distribution_of(values));
  };
  const auto median = [&](auto member) -> std::optional<double> {
    const std::vector<double> values = values_of(draws, member);
    return values.empty() ? std::nullopt : std::optional(quantile(values, 0.5));
  };
  LeaderboardRow row = draws[0];
  row.name = std::move(name);
  row.draws = draws.size();
  row.gap_closed = over(&LeaderboardRow::gap_closed);
  row.gen_contains = over(&LeaderboardRow::gen_contains);
  row.gen_exact = over(&LeaderboardRow::gen_exact);
  row.tf_exact = over(&LeaderboardRow::tf_exact);
  row.text_nll_minus_full = over(&LeaderboardRow::text_nll_minus_full);
  row.gen_contains_beyond = over(&LeaderboardRow::gen_contains_beyond);
  row.answer_nll = over(&LeaderboardRow::answer_nll);
  row.nll_minus_full = over(&LeaderboardRow::nll_minus_full);
  row.nll_minus_periodic_best = over(&LeaderboardRow::nll_minus_periodic_best);
  row.beats_random.reset();
  row.prefill_flops_share = median(&LeaderboardRow::prefill_flops_share);
  row.prefill_flops = *median(&LeaderboardRow::prefill_flops);
  row.decode_flops = *median(&LeaderboardRow::decode_flops);
  row.kv_saved = median(&LeaderboardRow::kv_saved);
  row.prefill_ms = median(&LeaderboardRow::prefill_ms);
  row.decode_ms = median(&LeaderboardRow::decode_ms);
  row.peak_bytes = median(&LeaderboardRow::peak_bytes);
  row.strip.reset();
  row.kv_share = *median(&LeaderboardRow::kv_share);
  row.kv_bytes = *median(&LeaderboardRow::kv_bytes);
  for (std::size_t i = 1; i < draws.size(); ++i) {
    const SelectionCost& cost = draws[i].selection_cost;
    row.selection_cost.forward_tokens += cost.forward_tokens;
    row.selection_cost.backward_tokens += cost.backward_tokens;
    row.selection_cost.layer_tokens += cost.layer_tokens;
    row.selection_cost.flops += cost.flops;
    row.selection_cost.evaluations += cost.evaluations;
    row.selection_cost.seconds += cost.seconds;
    row.selection_cost.peak_bytes = std::max(row.selection_cost.peak_bytes, cost.peak_bytes);
    row.timed_samples += draws[i].timed_samples;
    row.run_ids.push_back(draws[i].run_ids[0]);
    row.sources.push_back(draws[i].sources[0]);
    row.devices.insert(draws[i].devices.begin(), draws[i].devices.end());
  }
  return row;
}

}  // namespace strata
