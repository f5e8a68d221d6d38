// kl_ls on a small random model: what its scores are, what it costs, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "models/training/hybrid_training.h"
#include "strategies/text_pieces.h"
#include "tests/unit/strategies/branched_selection.h"

namespace strata {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Keys;

constexpr std::int64_t kSteps = 4, kBatch = 2, kLength = 16;
const Keys kShort = {{"steps", kSteps}, {"batch", kBatch}, {"length", kLength}, {"rate", 1e-3}};

class KlLsTest : public testing::BranchedSelectionTest {
 protected:
  static Keys with(Keys keys, const Keys& more) {
    keys.insert(keys.end(), more.begin(), more.end());
    return keys;
  }
  std::string error_of(const Keys& keys) { return select("kl_ls", keys).error().text(); }
};

TEST_F(KlLsTest, KeepsTheLayerThatNoBranchReplaces) {
  Meter cost;
  const Selection selection = *select("kl_ls", kShort, &cost);
  EXPECT_THAT(selection.mask.kept_units(), ElementsAre(kNeeded));
  EXPECT_EQ(made("kl_ls", kShort)->label(), "kl_ls");
  EXPECT_EQ(made("kl_ls")->needs().supervision(), "text");
  const double tokens = kSteps * kBatch * kLength;
  EXPECT_EQ(selection.diagnostics["tokens_a_layer"], tokens);
  EXPECT_EQ(cost.backward_tokens, kLayers * tokens);
  EXPECT_EQ(cost.forward_tokens, 2 * kLayers * tokens);  // teacher and student
  ASSERT_EQ(selection.training.size(), kSteps);
  EXPECT_EQ(selection.training[0]["loss_of_layers"].size(), kLayers);
}

// By hand, on the texts and in the order that a selection uses.
TEST_F(KlLsTest, AScoreIsMinusTheLateTrainingLossOfItsHybrid) {
  const Selection selection = *select("kl_ls", with(kShort, {{"tail", 0.5}}));
  const TextPieces texts = *text_pieces(calibration_, kLength, 0);
  EXPECT_EQ(texts.training.size(), 6);  // of 3 prompts of 40 tokens
  SilentProgress progress;
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    const AttentionPlan plan =
        *request_.plan(Mask(Granularity::kLayer, request_.layout, false).with(layer, true));
    MeteredModel metered(*model_);
    const DistilledStudent student = *distil(metered, *model_, plan, texts.training,
                                             {.steps = kSteps,
                                              .batch = kBatch,
                                              .rate = 1e-3,
                                              .last_rate = 1e-3,
                                              .train = TrainedWeights::kBranches,
                                              .seed = request_.seed},
                                             progress);
    EXPECT_DOUBLE_EQ(selection.scores->score[layer], -(student.losses[2] + student.losses[3]) / 2);
    EXPECT_NE(student.losses[0], student.losses[3]);
  }
}

TEST_F(KlLsTest, IsTheSameForASeed) {
  const std::vector<double> first = select("kl_ls", kShort)->scores->score;
  EXPECT_EQ(select("kl_ls", kShort)->scores->score, first);
  request_.seed = 1;  // another order of the texts
  EXPECT_NE(select("kl_ls", kShort)->scores->score, first);
}

TEST_F(KlLsTest, HeldOutTextHasStandardErrors) {
  const Keys keys = with(kShort, {{"proxy", "held_out"}, {"held_out", 0.34}});
  const Selection selection = *select("kl_ls", keys);
  EXPECT_EQ(made("kl_ls", keys)->label(), "kl_ls[held_out]");
  EXPECT_EQ(selection.diagnostics["texts"], 2);
  EXPECT_EQ(selection.diagnostics["texts_held_out"], 4);
  EXPECT_THAT(selection.mask.kept_units(), ElementsAre(kNeeded));
  for (const double error : selection.scores->standard_error) EXPECT_GT(error, 0);
}

TEST_F(KlLsTest, ASharedDistillationAloneIsReadOnHeldOutText) {
  const Keys keys = with(kShort, {{"shared_steps", 3}, {"steps", 0}});
  Meter cost;
  const Selection selection = *select("kl_ls", keys, &cost);
  EXPECT_EQ(made("kl_ls", keys)->label(), "kl_ls[shared,held_out]");
  EXPECT_EQ(cost.backward_tokens, 3 * kBatch * kLength);
  EXPECT_TRUE(selection.training.is_null());
  EXPECT_THAT(selection.mask.kept_units(), ElementsAre(kNeeded));
  // It is not the student that was there before.
  const Keys less = with(kShort, {{"shared_steps", 1}, {"steps", 0}});
  EXPECT_NE(select("kl_ls", less)->scores->score, selection.scores->score);
}

TEST_F(KlLsTest, WithoutDistillationItIsKlGuidedByThatName) {
  request_.cheap = SlidingWindow{kWindow, kSinks};
  const Keys keys = {{"steps", 0}};
  EXPECT_EQ(made("kl_ls", keys)->label(), "kl_restore[beyond_window]");
  const Selection selection = *select("kl_ls", keys);
  EXPECT_EQ(selection.scores->score,
            select("kl_guided", {{"positions", "beyond_window"}})->scores->score);
}

TEST_F(KlLsTest, AWindowedHybridTrainsAllWeights) {
  request_.cheap = SlidingWindow{kWindow, kSinks};
  EXPECT_THAT(error_of(kShort), HasSubstr("hint: train=all"));
  const Selection selection = *select("kl_ls", with(kShort, {{"train", "all"}}));
  EXPECT_EQ(selection.mask.kept(), 1U);
  EXPECT_THAT(selection.mask.kept_units(), ElementsAre(kNeeded));
}

TEST_F(KlLsTest, SaysWhatItCannotDo) {
  EXPECT_THAT(error_of({{"length", 41}}),
              HasSubstr("3 calibration prompts hold 0 texts of 41 tokens to train on"));
  request_.budget.mode = BudgetMode::kAtMost;
  EXPECT_THAT(error_of(kShort), HasSubstr("expected budget.mode=exact"));
  request_.budget.mode = BudgetMode::kExact;
  request_.granularity = Granularity::kKvHead;
  EXPECT_THAT(error_of(kShort), HasSubstr("kl_ls restores whole layers, not kv_heads"));
}

}  // namespace
}  // namespace strata
