// Corrections of p-values for a family of tests that was declared beforehand.
//
// Adjusted values come in the order given. `family`: how many tests were declared, where some gave
// no p-value (0 = these are all); they count in the correction. Pure, thread-safe.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace strata {

// Family-wise error rate, under any dependence.
std::vector<double> holm(std::span<const double> p_values, std::size_t family = 0);

// False discovery rate, under independence or positive dependence.
std::vector<double> benjamini_hochberg(std::span<const double> p_values, std::size_t family = 0);

}  // namespace strata
