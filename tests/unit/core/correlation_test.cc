#include "core/correlation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace strata {
namespace {

TEST(Correlation, SpearmanEqualsSciPys) {
  const char* root = std::getenv("STRATA_SOURCE_DIR");
  std::ifstream in(std::string(root == nullptr ? "." : root) + "/tests/golden/statistics.json");
  const nlohmann::json golden = nlohmann::json::parse(in);
  ASSERT_EQ(golden["spearman"].size(), 10U);
  for (const nlohmann::json& c : golden["spearman"]) {
    const auto rho = spearman(c["a"].get<std::vector<double>>(), c["b"].get<std::vector<double>>());
    ASSERT_EQ(rho.has_value(), !c["rho"].is_null()) << c["name"];
    if (rho) {
      EXPECT_NEAR(*rho, c["rho"].get<double>(), 1e-12) << c["name"];
    }
  }
}

TEST(Correlation, PearsonByHand) {
  const std::vector<double> a = {1, 2, 3}, b = {1, 2, 4}, constant = {0.1, 0.1, 0.1};
  EXPECT_NEAR(*pearson(a, b), 3 / std::sqrt(2.0 * 14 / 3), 1e-15);  // 3, 2 and 14/3
  EXPECT_NEAR(*pearson(a, std::vector<double>{-2, -4, -6}), -1, 1e-15);
  EXPECT_FALSE(pearson(a, constant).has_value());
  EXPECT_FALSE(pearson(constant, a).has_value());
}

}  // namespace
}  // namespace strata
