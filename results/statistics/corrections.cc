#include "results/statistics/corrections.h"

#include <algorithm>
#include <numeric>

#include "core/result.h"

namespace strata {
namespace {

std::vector<std::size_t> smallest_first(std::span<const double> p_values) {
  std::vector<std::size_t> order(p_values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return p_values[a] < p_values[b]; });
  return order;
}

double size_of(std::size_t family, std::size_t tests) {
  STRATA_CHECK(family == 0 || family >= tests, "{} {}", family, tests);
  return static_cast<double>(family == 0 ? tests : family);
}

}  // namespace

std::vector<double> holm(std::span<const double> p_values, std::size_t family) {
  const double declared = size_of(family, p_values.size());
  const std::vector<std::size_t> order = smallest_first(p_values);
  std::vector<double> out(p_values.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, (declared - static_cast<double>(rank)) * p_values[order[rank]]);
    out[order[rank]] = std::min(1.0, largest);
  }
  return out;
}

std::vector<double> benjamini_hochberg(std::span<const double> p_values, std::size_t family) {
  const double declared = size_of(family, p_values.size());
  const std::vector<std::size_t> order = smallest_first(p_values);
  std::vector<double> out(p_values.size());
  double smallest = 1;
  for (std::size_t rank = order.size(); rank > 0; --rank) {
    const double adjusted = declared * p_values[order[rank - 1]] / static_cast<double>(rank);
    smallest = std::min(smallest, adjusted);
    out[order[rank - 1]] = smallest;
  }
  return out;
}

}  // namespace strata
