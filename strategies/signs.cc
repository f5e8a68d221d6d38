#include "strategies/signs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace strata {
namespace {

// Rounding of float64 sums; a mass of the softmax cannot exceed 1 by more.
constexpr double kMassTolerance = 1e-9;
constexpr double kConstraintTolerance = 0.01;

Check::Outcome sign_if(bool sign) { return sign ? Check::Outcome::kSign : Check::Outcome::kClear; }

bool all_equal(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == values[0]; });
}

}  // namespace

Check spread_check(std::string what, std::span<const double> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const bool same = values.size() > 1 && all_equal(values);
  return {.name = std::move(what),
          .expected = "not all equal",
          .found = same ? fmt::format("all {:.6g}", values[0])
                        : fmt::format("{:.6g} to {:.6g}", *least, *most),
          .outcome = sign_if(same)};
}

Check finite_check(std::span<const double> scores) {
  const auto wrong = std::count_if(scores.begin(), scores.end(), [](double score) {
    return std::isnan(score) || score == std::numeric_limits<double>::infinity();
  });
  return {.name = "numbers among the scores",
          .expected = "all finite",
          .found = fmt::format("{} of {} not", wrong, scores.size()),
          .outcome = sign_if(wrong > 0)};
}

Check constraint_check(double gap) {
  return {.name = "expected sparsity off its corrected target",
          .expected = fmt::format("at most {}", kConstraintTolerance),
          .found = fmt::format("{:.4f}", gap),
          .outcome = sign_if(!(gap <= kConstraintTolerance))};
}

Check clamp_check(const std::string& what, std::span<const double> values, double low,
                  double high) {
  const auto at = [&](double value) { return std::count(values.begin(), values.end(), value); };
  const auto units = static_cast<std::ptrdiff_t>(values.size());
  return {
      .name = what + " at the clamps",
      .expected = "not all at the same",
      .found = fmt::format("{} at the lower and {} at the upper of {}", at(low), at(high), units),
      .outcome = sign_if(at(low) == units || at(high) == units)};
}

Check lazy_ratio_check(double highest) {
  return {.name = "highest lazy ratio",
          .expected = "at most 1 (a mass of the softmax)",
          .found = fmt::format("{:.9g}", highest),
          .outcome = sign_if(!(highest <= 1 + kMassTolerance))};
}

Check swap_check(const SwapOutcome& outcome) {
  return {.name = "joint NLL after the swaps",
          .expected = fmt::format("at most the start's {:.6f}", outcome.start_nll),
          .found = fmt::format("{:.6f}", outcome.nll),
          .outcome = sign_if(!(outcome.nll <= outcome.start_nll))};
}

Check search_check(double searched_nll, double top_k_nll, std::size_t k, double rounding) {
  constexpr std::size_t kNeverWorse = 2;
  return {.name = "joint NLL of the searched set on calibration",
          .expected = fmt::format("at most {:.6f}, that of the scorer's top {}{}", top_k_nll, k,
                                  k > kNeverWorse ? " (a hint: impossible for 2 units only)" : ""),
          .found = fmt::format("{:.6f}", searched_nll),
          .outcome = sign_if(!(searched_nll <= top_k_nll + rounding))};
}

void note_score_signs(Selection& selection) {
  if (!selection.scores) return;
  const std::vector<double>& scores = selection.scores->score;
  note(selection.diagnostics, finite_check(scores));
  std::vector<double> candidates;
  for (const double score : scores)
    if (std::isfinite(score)) candidates.push_back(score);
  if (!candidates.empty()) note(selection.diagnostics, spread_check("scores", candidates));
}

}  // namespace strata
