// How alike two lists of numbers are.
#pragma once

#include <optional>
#include <span>

namespace strata {

// Pearson's correlation; none where either list is constant. Same lengths, n ≥ 2.
std::optional<double> pearson(std::span<const double> a, std::span<const double> b);

// Spearman's rank correlation: Pearson's of ranks, ties at their mean rank. As pearson.
std::optional<double> spearman(std::span<const double> a, std::span<const double> b);

}  // namespace strata
