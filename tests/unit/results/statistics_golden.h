// What SciPy and statsmodels say; made by tools/make_statistics_golden.py.
#pragma once

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace strata::testing {

inline const nlohmann::json& golden() {
  static const nlohmann::json kGolden = [] {
    const char* root = std::getenv("STRATA_SOURCE_DIR");
    std::ifstream in(std::string(root == nullptr ? "." : root) + "/tests/golden/statistics.json");
    return nlohmann::json::parse(in);
  }();
  return kGolden;
}

}  // namespace strata::testing
