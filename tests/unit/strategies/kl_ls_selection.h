// Short trainings of kl_ls on the tiny selection problem, and whether two selections are equal.
#pragma once

#include <cmath>
#include <string>

#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/strategies/branched_selection.h"

namespace strata::testing {

class KlLsSelectionTest : public BranchedSelectionTest {
 protected:
  static constexpr std::int64_t kBatch = 2, kLength = 16;

  static Keys short_steps(std::int64_t steps, const Keys& more = {}) {
    Keys keys = {{"steps", steps}, {"batch", kBatch}, {"length", kLength}, {"rate", 1e-3}};
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  }

  struct Made {
    Selection selection;
    Meter cost;
  };
  Made made_by(const Keys& keys) {
    Meter cost;
    Result<Selection> selection = select("kl_ls", keys, &cost);
    STRATA_CHECK(selection.has_value(), "{}", selection.error().text());
    return {*std::move(selection), cost};
  }
  static void expect_same(const Made& got, const Made& expected) {
    expect_same_result(got.selection, expected.selection);
    EXPECT_EQ(got.cost.flops, expected.cost.flops);
    EXPECT_EQ(got.cost.forward_tokens, expected.cost.forward_tokens);
    EXPECT_EQ(got.cost.backward_tokens, expected.cost.backward_tokens);
    EXPECT_EQ(got.cost.layer_tokens, expected.cost.layer_tokens);
  }
  // To the last bit; of diagnostics, those that both have.
  static void expect_same_result(const Selection& a, const Selection& b) {
    EXPECT_EQ(a.mask, b.mask);
    EXPECT_EQ(a.scores->score, b.scores->score);
    for (std::size_t unit = 0; unit < kLayers; ++unit) {
      const double one = a.scores->standard_error[unit], other = b.scores->standard_error[unit];
      EXPECT_TRUE(one == other || (std::isnan(one) && std::isnan(other)));
    }
    EXPECT_EQ(a.training, b.training);
    for (const auto& [key, value] : a.diagnostics.items())
      EXPECT_EQ(value, b.diagnostics.value(key, value)) << key;
  }
};

}  // namespace strata::testing
