#include "tests/fuzz/seeds.h"

namespace strata::fuzz {

std::vector<std::string> made_seeds() { return {}; }

}  // namespace strata::fuzz
