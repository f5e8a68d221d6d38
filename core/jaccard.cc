#include "core/jaccard.h"

#include <algorithm>
#include <iterator>

namespace strata {

double jaccard(std::vector<std::size_t> a, std::vector<std::size_t> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  std::vector<std::size_t> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  const std::size_t either = a.size() + b.size() - both.size();
  return either == 0 ? 1.0 : static_cast<double>(both.size()) / static_cast<double>(either);
}

}  // namespace strata
