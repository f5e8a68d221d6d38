// postnas on a small random model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/strategies/branched_selection.h"

namespace strata {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Keys;

constexpr std::int64_t kSteps = 6, kBatch = 2, kLength = 20;
const Keys kShort = {{"steps", kSteps}, {"batch", kBatch}, {"length", kLength}, {"rate", 1e-2}};

class PostNasTest : public testing::BranchedSelectionTest {};

TEST_F(PostNasTest, FindsTheLayerThatNoBranchReplaces) {
  request_.budget.units = 2;
  Meter cost;
  const Selection selection = *select("postnas", kShort, &cost);
  EXPECT_EQ(selection.mask.kept(), 2U);
  EXPECT_THAT(selection.mask.kept_units(), Contains(kNeeded));
  EXPECT_EQ(made("postnas", kShort)->label(), "postnas");
  EXPECT_EQ(made("postnas")->needs().supervision(), "answers");
  EXPECT_EQ(cost.backward_tokens, kSteps * kBatch * kLength);
  // The search's are in it: a context and 5 toggles, then at most 3 contexts and their toggles.
  EXPECT_GT(cost.evaluations, kSamples * 6);
  EXPECT_LE(cost.evaluations, kSamples * (6 + 3 * 5));
  ASSERT_EQ(selection.training.size(), kSteps);
  EXPECT_GT(selection.training[0]["loss"].get<double>(), 0);
  EXPECT_FALSE(selection.diagnostics.contains("order"));
}

TEST_F(PostNasTest, IsTheSameForASeedAndSearchesTheTrainedBranches) {
  const std::vector<double> first = select("postnas", kShort)->scores->score;
  EXPECT_EQ(select("postnas", kShort)->scores->score, first);
  EXPECT_NE(select("postnas", {{"steps", 0}})->scores->score, first);
  request_.seed = 1;
  EXPECT_NE(select("postnas", kShort)->scores->score, first);
}

TEST_F(PostNasTest, WithFrozenBranchesItIsABeamSearch) {
  request_.budget.units = 2;
  for (const MixerSpec& cheap : {MixerSpec(SlidingWindow{kWindow, kSinks}),
                                 MixerSpec(LinearAttention{LinearKind::kLightning})}) {
    request_.cheap = cheap;
    const Keys keys = {{"steps", 0}};
    Meter cost;
    const Selection selection = *select("postnas", keys, &cost);
    EXPECT_EQ(made("postnas", keys)->label(), "postnas[frozen]");
    const Selection beam = *select("nll_guided", {{"searcher", "beam"}, {"beam_width", 3}});
    EXPECT_EQ(selection.mask, beam.mask);
    EXPECT_EQ(selection.scores->score, beam.scores->score);
    EXPECT_EQ(selection.diagnostics["order"], beam.diagnostics["order"]);
    EXPECT_EQ(cost.backward_tokens, 0);
  }
}

TEST_F(PostNasTest, SaysWhatItCannotDo) {
  EXPECT_THAT(select("postnas", {{"length", 41}}).error().text(),
              HasSubstr("hold 0 texts of 41 tokens"));
  request_.cheap = LinearAttention{LinearKind::kGla};
  EXPECT_THAT(select("postnas", kShort).error().text(), HasSubstr("layer 0"));
  request_.cheap = SlidingWindow{kWindow, kSinks};
  EXPECT_THAT(select("postnas", kShort).error().text(),
              HasSubstr("hint: strategy.steps=0, or mixer=linear_attention"));
  request_.granularity = Granularity::kQueryHead;
  EXPECT_THAT(select("postnas", kShort).error().text(),
              HasSubstr("postnas keeps whole layers, not query_heads"));
}

}  // namespace
}  // namespace strata
