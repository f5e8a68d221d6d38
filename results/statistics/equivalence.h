// Tests against a margin that was stated beforehand: equivalent, non-inferior, and what n they
// need.
//
// Where n does not allow an answer, the answer is inconclusive and says which n would. Pure
// functions, thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "results/statistics.h"
#include "results/statistics/sign_flip.h"

namespace strata {

inline constexpr std::size_t kSeedsForClaim = 5;  // below: no claim about a selector
inline constexpr double kPointsMargin = 0.03;     // of accuracies, 0 … 1
inline constexpr double kNllMargin = 0.02;        // nats a token
inline constexpr double kPower = 0.8;

enum class Equivalence { kEquivalent, kDifferent, kInconclusive };
std::string_view to_string(Equivalence answer);

struct EquivalenceTest {
  Equivalence answer = Equivalence::kInconclusive;
  double mean = 0;
  // None of these without a standard error.
  std::optional<Interval> interval;     // 1 − 2 alpha: equivalent where it lies within the margin
  std::optional<double> p;              // of TOST: the larger of its two
  std::optional<std::size_t> n_needed;  // at this spread, for a power of 80 %
};

// Two one-sided t tests of independent values (samples, cluster means or seed means) against
// ±margin. Equivalent: both reject. Different: not equivalent, and 0 lies outside the two-sided 1 −
// alpha interval. Values without any spread are taken at their word: whoever draws samples must not
// ask then. n ≥ 1, margin > 0.
//
// step: the smallest value but 0 that a difference of 0/1 answers can have (1 of pairs, 1/m of
// means over m of them); 0 = any. Few answers that never changed would seem to have no variance,
// but where the mean is the margin the mean square is at least margin × step, so the variance is at
// least margin (step − margin): the test takes no less, as score tests do. (0 of 64 pairs
// discordant does not exclude 4 in 100; with ±3 points 0 of 100 is equivalent.)
EquivalenceTest equivalence(std::span<const double> values, double margin, double alpha = 0.05,
                            double step = 0);

// Values that TOST needs for `power` where the true difference is 0, by the normal approximation
// (z_{1−alpha} + z_{1−(1−power)/2})² (sd / margin)²: 952 for ±3 points at 10 % discordant pairs
// (sd² = 0.1). 2 to 10¹².
std::size_t equivalence_samples(double sd, double margin, double alpha = 0.05,
                                double power = kPower);

// The smallest true mean difference that a two-sided paired t test of n values finds with `power`,
// by the normal approximation (z_{1−alpha/2} + z_{power}) sd / sqrt(n). sd ≥ 0, n ≥ 1. step as
// above: a difference d of 0/1 answers brings a variance of about d step with it, so that none
// below z² step / n is found, however small the sd was.
double minimum_detectable_difference(double sd, std::size_t n, double alpha = 0.05,
                                     double power = kPower, double step = 0);

// One-sided t test over per-seed means of a paired difference where lower is better: is the
// selector worse than the control by less than the margin? Needs kSeedsForClaim seeds.
struct NonInferiority {
  double mean = 0;
  double upper = 0;  // one-sided bound, confidence 1 − alpha
  double p = 1;      // of "worse by the margin or more"
  bool shown = false;
};
std::variant<InferenceNotSupported, NonInferiority> non_inferiority(
    std::span<const double> seed_means, double margin = kNllMargin, double alpha = 0.05);

}  // namespace strata
