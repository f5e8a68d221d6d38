// The early stop of kl_ls on a small random model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/strategies/kl_ls_selection.h"

namespace strata {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using testing::Keys;

class KlLsStopTest : public testing::KlLsSelectionTest {
 protected:
  KlLsStopTest() { checkpoint_ = folder_.path() / "run.json"; }

  static Keys stop(std::int64_t round, std::int64_t window, double threshold,
                   const Keys& more = {}) {
    Keys keys = {{"stop_round", round}, {"stop_window", window}, {"stop_threshold", threshold}};
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  }
  Made fresh(const Keys& keys) {
    std::filesystem::remove_all(folder_.path());
    std::filesystem::create_directories(folder_.path());
    return made_by(keys);
  }
  static std::vector<double> overlaps(const Made& made) {
    return made.selection.diagnostics["early_stop"]["jaccard"];
  }

  testing::TemporaryDirectory folder_;
};

// The one layer that no branch replaces is found at once.
TEST_F(KlLsStopTest, StopsWhereTheSetHasSettledWithTheScoresOfSoManySteps) {
  for (const Keys& proxy : {Keys{}, Keys{{"proxy", "held_out"}, {"shared_steps", 1}}}) {
    const Made stopped = fresh(short_steps(20, stop(2, 2, 1, proxy)));
    const nlohmann::json& said = stopped.selection.diagnostics["early_stop"];
    EXPECT_EQ(said["rounds"], 3);  // two overlaps
    EXPECT_EQ(said["jaccard"], (std::vector<double>{1, 1}));
    EXPECT_EQ(said["stopped"], true);
    EXPECT_EQ(said["tokens_saved"], (20 - 6) * kBatch * kLength * kLayers);
    EXPECT_EQ(stopped.selection.diagnostics["tokens_a_layer"], 6 * kBatch * kLength);
    EXPECT_THAT(stopped.selection.mask.kept_units(), ::testing::ElementsAre(kNeeded));
    const Made whole = fresh(short_steps(6, proxy));
    EXPECT_FALSE(whole.selection.diagnostics.contains("early_stop"));
    expect_same_result(stopped.selection, whole.selection);
    EXPECT_EQ(stopped.cost.backward_tokens, whole.cost.backward_tokens);
    // Texts set apart are read behind every round.
    EXPECT_EQ(stopped.cost.forward_tokens > whole.cost.forward_tokens, !proxy.empty());
  }
}

// Where sets change in every window, rounds are all that differs.
TEST_F(KlLsStopTest, WhereNothingSettlesItIsTheSelectionWithoutAStop) {
  request_.budget.units = 2;  // behind the needed layer, noise
  const Keys noisy = {{"rate", 0.1}, {"tail", 1e-6}};
  const auto steps = [&](const Keys& more) {
    Keys keys = {{"steps", 7}, {"batch", 1}, {"length", kLength}};
    keys.insert(keys.end(), noisy.begin(), noisy.end());
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  };
  const Made never = fresh(steps(stop(1, 5, 1)));
  EXPECT_EQ(overlaps(never).size(), 6U);
  EXPECT_LT(overlaps(never)[2], 1);  // of both windows
  EXPECT_EQ(never.selection.diagnostics["early_stop"]["stopped"], false);
  EXPECT_EQ(never.selection.diagnostics["early_stop"]["tokens_saved"], 0);
  expect_same(never, fresh(steps({})));
  // A round that is no divisor of the steps: the last one is shorter.
  const Made uneven = fresh(steps(stop(3, 1, 1)));
  EXPECT_LE(overlaps(uneven).size(), 2U);
}

TEST_F(KlLsStopTest, TheOverlapsAreThoseOfTheSetsThatFewerStepsGive) {
  request_.budget.units = 2;
  const Keys noisy = {{"rate", 0.1}, {"tail", 0.3}};
  const auto steps = [&](std::int64_t count, const Keys& more) {
    Keys keys = {{"steps", count}, {"batch", 1}, {"length", kLength}};
    keys.insert(keys.end(), noisy.begin(), noisy.end());
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  };
  const Made made = fresh(steps(8, stop(2, 2, 1)));
  const std::vector<double> found = overlaps(made);
  std::vector<std::vector<std::size_t>> sets;
  for (std::size_t round = 0; round <= found.size(); ++round)
    sets.push_back(
        fresh(steps(2 * (static_cast<std::int64_t>(round) + 1), {})).selection.mask.kept_units());
  for (std::size_t i = 0; i < found.size(); ++i) {
    std::size_t both = 0;
    for (const std::size_t unit : sets[i])
      both += static_cast<std::size_t>(std::count(sets[i + 1].begin(), sets[i + 1].end(), unit));
    EXPECT_DOUBLE_EQ(found[i], static_cast<double>(both) / static_cast<double>(4 - both));
  }
  EXPECT_EQ(made.selection.mask.kept_units(), sets.back());
}

TEST_F(KlLsStopTest, AnAverageAboveTheThresholdIsEnough) {
  request_.budget.units = 2;
  // Of 2 layers sets overlap by 1, 1/3 or 0.
  const Made made = fresh(short_steps(12, stop(1, 3, 0.3)));
  EXPECT_EQ(overlaps(made).size(), 3U);
  EXPECT_THAT(overlaps(made), Each(::testing::AnyOf(1.0, ::testing::DoubleEq(1.0 / 3))));
}

// Scores of one budget are not another's, whose sets may settle later.
TEST_F(KlLsStopTest, ScoresAreSharedBetweenBudgetsOnlyWithoutAStop) {
  testing::MapScoreCache cache;
  cache_ = &cache;
  for (const bool stops : {false, true}) {
    const Keys keys = short_steps(6, stops ? stop(1, 2, 1) : Keys{});
    for (const int units : {1, 2}) {
      request_.budget.units = units;
      const Made first = fresh(keys);
      EXPECT_EQ(first.cost.flops > 0, stops || units == 1);
      EXPECT_EQ(fresh(keys).cost.flops, 0);  // the same budget
    }
  }
}

TEST_F(KlLsStopTest, SaysInItsLabelThatItMayStop) {
  EXPECT_EQ(made("kl_ls", {{"stop_round", 4}})->label(), "kl_ls[early_stop]");
  EXPECT_EQ(made("kl_ls", {{"stop_round", 4}, {"proxy", "held_out"}})->label(),
            "kl_ls[held_out,early_stop]");
}

TEST_F(KlLsStopTest, AStopThatSavesNothingOrHasNoPlaceIsRefused) {
  const auto late = select("kl_ls", short_steps(9, stop(2, 4, 1)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message,
            "strategy.steps=9 makes 5 rounds of strategy.stop_round=2; expected more than the 5 "
            "that strategy.stop_window=4 takes, else nothing is saved");
  EXPECT_EQ(late.error().hint, "lower strategy.stop_round or strategy.stop_window");
  EXPECT_TRUE(select("kl_ls", short_steps(9, stop(2, 3, 1))));
  EXPECT_THAT(select("kl_ls", short_steps(0, stop(2, 1, 1))).error().message,
              HasSubstr("strategy.steps=0 makes 0 rounds"));
  checkpoint_.clear();
  const auto nowhere = select("kl_ls", short_steps(9, stop(2, 3, 1)));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(nowhere.error().hint, "strata run or strata select, or strategy.stop_round=0");
}

}  // namespace
}  // namespace strata
