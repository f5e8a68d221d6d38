#include "results/statistics/equivalence.h"

#include <algorithm>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>

#include "core/result.h"

namespace strata {
namespace {

using boost::math::students_t;

constexpr double kMostSamples = 1e12;  // that a report asks for

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

EquivalenceTest equivalence(std::span<const double> values, double margin, double alpha,
                            double step) {
  STRATA_CHECK(margin > 0 && alpha > 0 && alpha < 0.5, "{} {}", margin, alpha);
  const Mean mean = mean_of(values);
  EquivalenceTest out{.mean = mean.value};
  if (!mean.standard_error) return out;
  const auto n = static_cast<double>(values.size());
  const double least = std::sqrt(std::max(0.0, margin * (step - margin)) / n);
  const double error = std::max(*mean.standard_error, least);
  const students_t t(n - 1);
  out.n_needed = equivalence_samples(error * std::sqrt(n), margin, alpha);
  const double half = boost::math::quantile(t, 1 - alpha) * error;
  out.interval = Interval{mean.value - half, mean.value + half};
  const double room = margin - std::abs(mean.value);  // to the nearer bound: its p is the larger
  if (error > 0)
    out.p = boost::math::cdf(boost::math::complement(t, room / error));
  else
    out.p = room > 0 ? 0 : 1;
  if (*out.p < alpha)
    out.answer = Equivalence::kEquivalent;
  else if (std::abs(mean.value) > boost::math::quantile(t, 1 - alpha / 2) * error)
    out.answer = Equivalence::kDifferent;
  return out;
}

std::size_t equivalence_samples(double sd, double margin, double alpha, double power) {
  STRATA_CHECK(sd >= 0 && margin > 0, "{} {}", sd, margin);
  const double z = normal_quantile(1 - alpha) + normal_quantile(1 - (1 - power) / 2);
  const double n = std::ceil(std::pow(z * sd / margin, 2));
  return static_cast<std::size_t>(std::clamp(n, 2.0, kMostSamples));
}

double minimum_detectable_difference(double sd, std::size_t n, double alpha, double power,
                                     double step) {
  STRATA_CHECK(sd >= 0 && n >= 1, "{} {}", sd, n);
  const double z = normal_quantile(1 - alpha / 2) + normal_quantile(power);
  const auto values = static_cast<double>(n);
  return std::max(z * sd / std::sqrt(values), z * z * step / values);
}

std::variant<InferenceNotSupported, NonInferiority> non_inferiority(
    std::span<const double> seed_means, double margin, double alpha) {
  if (seed_means.size() < kSeedsForClaim)
    return InferenceNotSupported{seed_means.size(), kSeedsForClaim};
  const Mean mean = mean_of(seed_means);
  NonInferiority out{.mean = mean.value, .upper = std::numeric_limits<double>::infinity()};
  if (!mean.standard_error) return out;
  const double error = *mean.standard_error;
  const students_t t(static_cast<double>(seed_means.size() - 1));
  out.upper = mean.value + boost::math::quantile(t, 1 - alpha) * error;
  if (error > 0)
    out.p = boost::math::cdf(t, (mean.value - margin) / error);
  else
    out.p = mean.value < margin ? 0 : 1;
  out.shown = out.p < alpha;
  return out;
}

}  // namespace strata
