// Variable tracking: RULER's texts (NVIDIA/RULER, Apache-2.0: data/synthetic/constants.py and
// variable_tracking.py), chains of five variables, one of which is asked for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/ruler_config.h"

namespace strata {

inline constexpr std::size_t kVtVariables = 5;  // four hops

struct VtChain {
  std::vector<std::string> names;
  std::string value;  // five digits
};

// "VAR A = 12345", "VAR B = VAR A ", …: the space at the end is RULER's.
std::vector<std::string> vt_statements(const VtChain& chain);

inline constexpr std::string_view kVtHead =
    "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n";
std::string vt_question(std::string_view value);
// lm_eval writes "assgined".
std::string vt_answer_prefix(RulerVariant variant, std::string_view value);

}  // namespace strata
