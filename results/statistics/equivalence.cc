#include "results/statistics/equivalence.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "core/result.h"

namespace strata {
namespace {

using boost::math::students_t;

double normal_quantile(double q) { return boost::math::quantile(boost::math::normal(), q); }

}  // namespace

std::string_view to_string(Equivalence answer) {
  switch (answer) {
    case Equivalence::kEquivalent: return "equivalent";
    case Equivalence::kDifferent: return "different";
    case Equivalence::kInconclusive: return "inconclusive";
  }
  return "";
}

EquivalenceTest equivalence(std::span<const double> values, double margin, double alpha) {
  STRATA_CHECK(margin > 0 && alpha > 0 && alpha < 0.5, "{} {}", margin, alpha);
  const Mean mean = mean_of(values);
  EquivalenceTest out{.mean = mean.value};
  if (!mean.standard_error) return out;
  const double error = *mean.standard_error;
  const auto n = static_cast<double>(values.size());
  out.n_needed = equivalence_samples(error * std::sqrt(n), margin, alpha);
  out.interval = t_estimate(values, 1 - 2 * alpha).interval;
  const double room = margin - std::abs(mean.value);  // to the nearer bound: its p is the larger
  if (error > 0)
    out.p = boost::math::cdf(boost::math::complement(students_t(n - 1), room / error));
  else
    out.p = room > 0 ? 0 : 1;
  const Interval two_sided = *t_estimate(values, 1 - alpha).interval;
  if (*out.p < alpha)
    out.answer = Equivalence::kEquivalent;
  else if (two_sided.low > 0 || two_sided.high < 0)
    out.answer = Equivalence::kDifferent;
  return out;
}

std::size_t equivalence_samples(double sd, double margin, double alpha, double power) {
  STRATA_CHECK(sd >= 0 && margin > 0, "{} {}", sd, margin);
  const double z = normal_quantile(1 - alpha) + normal_quantile(1 - (1 - power) / 2);
  return std::max<std::size_t>(2,
                               static_cast<std::size_t>(std::ceil(std::pow(z * sd / margin, 2))));
}

double minimum_detectable_difference(double sd, std::size_t n, double alpha, double power) {
  STRATA_CHECK(sd >= 0 && n >= 1, "{} {}", sd, n);
  const double z = normal_quantile(1 - alpha / 2) + normal_quantile(power);
  return z * sd / std::sqrt(static_cast<double>(n));
}

std::variant<InferenceNotSupported, NonInferiority> non_inferiority(
    std::span<const double> seed_means, double margin, double alpha) {
  if (seed_means.size() < kSeedsForClaim)
    return InferenceNotSupported{seed_means.size(), kSeedsForClaim};
  const Mean mean = mean_of(seed_means);
  const double error = *mean.standard_error;
  const students_t t(static_cast<double>(seed_means.size() - 1));
  NonInferiority out{.mean = mean.value};
  out.upper = mean.value + boost::math::quantile(t, 1 - alpha) * error;
  if (error > 0)
    out.p = boost::math::cdf(t, (mean.value - margin) / error);
  else
    out.p = mean.value < margin ? 0 : 1;
  out.shown = out.p < alpha;
  return out;
}

}  // namespace strata
