// Valid files that a program makes, for formats whose valid files are too large or too soon out of
// date to be kept in the corpus. Most formats have none (no_made_seeds.cc).
#pragma once

#include <string>
#include <vector>

namespace strata::fuzz {

std::vector<std::string> made_seeds();

}  // namespace strata::fuzz
