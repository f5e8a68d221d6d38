// How much two sets of units overlap. Pure.
#pragma once

#include <cstddef>
#include <vector>

namespace strata {

// |A ∩ B| / |A ∪ B| of two sets of flat indices; 1 where both are empty.
double jaccard(std::vector<std::size_t> a, std::vector<std::size_t> b);

}  // namespace strata
