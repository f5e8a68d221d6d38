// Attribution patching: the derivative of the slow twin's effects where a patch is put in by a
// small part, both ways.
#include <gtest/gtest.h>

#include "models/cost.h"
#include "models/path_patch.h"
#include "tests/unit/models/path_patch_fixture.h"

namespace strata {
namespace {

using testing::head_at;
using testing::kAnswer;
using testing::kDecay;
using testing::kHeads;
using testing::kLayers;
using testing::kPrompt;
using testing::PathTwin;

constexpr double kStep = 1e-4;        // of the patch
constexpr double kDifference = 1e-7;  // what central differences at that step leave of it

class PathAttributionTest : public testing::PathPatchFixture {
 protected:
  static PathTwin::Run moved(PathTwin::Run other, double share) {
    other.share = share;
    return other;
  }

  void expect_direct(PatchSetting setting, const PathTwin::Run& other) {
    setting.method = PatchMethod::kAttribution;
    MeteredModel model(*model_);
    const PatchEffects found = *direct_effects(model, pair(), setting);
    const PathTwin::Run less = moved(other, -kStep), more = moved(other, kStep);
    double largest = 0;
    for (int layer = 0; layer < kLayers; ++layer)
      for (int head = 0; head < kHeads; ++head) {
        const auto at = [&](const PathTwin::Run& run) {
          return margin(twin_->direct(clean_, run, layer, head));
        };
        const double slope = (at(less) - at(more)) / (2 * kStep);
        EXPECT_NEAR(found.effects[head_at(layer, head)], slope, kDifference)
            << layer << "." << head;
        largest = std::max(largest, std::abs(slope));
      }
    EXPECT_GT(largest, 0.01);
  }

  void expect_through(PatchSetting setting, const PathTwin::Run& other,
                      const std::vector<std::size_t>& receivers, const PathTwin::Rows& rows) {
    setting.method = PatchMethod::kAttribution;
    MeteredModel model(*model_);
    const PatchEffects found = *path_effects(model, pair(), setting, all_heads(), receivers);
    const PathTwin::Run less = moved(other, -kStep), more = moved(other, kStep);
    double largest = 0;
    for (const std::size_t sender : all_heads()) {
      const auto at = [&](const PathTwin::Run& run) {
        return margin(twin_->through(clean_, run, sender, receivers, rows));
      };
      const double slope = (at(less) - at(more)) / (2 * kStep);
      EXPECT_NEAR(found.effects[sender], slope, kDifference) << sender;
      largest = std::max(largest, std::abs(slope));
    }
    EXPECT_GT(largest, 0.01);
  }
};

TEST_P(PathAttributionTest, DirectEffectsAreSlopesOfPatchesWithFrozenAttention) {
  for (const bool sink_logits : {false, true}) {
    make(sink_logits);
    expect_direct({.decay = kDecay}, twin_->run(text(other_prompt_, other_answer_)));
  }
}

TEST_P(PathAttributionTest, EffectsThroughReceiversAreSlopesOfPathPatches) {
  for (const bool sink_logits : {false, true}) {
    make(sink_logits);
    const PathTwin::Run other = twin_->run(text(other_prompt_, other_answer_));
    expect_through({.decay = kDecay}, other, {head_at(3, 2)}, rows_from(5));
    expect_through({.decay = kDecay}, other,
                   {head_at(0, 1), head_at(1, 0), head_at(1, 3), head_at(2, 2), head_at(3, 1)},
                   rows_from(5));
    // None in the top layer: nothing above the highest is read.
    expect_through({.decay = kDecay}, other, {head_at(1, 1), head_at(2, 3)}, rows_from(5));
  }
}

TEST_P(PathAttributionTest, ChangedRowsAloneAreDifferentiatedWhereAsked) {
  make();
  expect_through({.decay = kDecay, .sender_rows = SenderRows::kChanged},
                 twin_->run(text(other_prompt_, other_answer_)),
                 {head_at(1, 1), head_at(2, 0), head_at(3, 3)}, {5, 6, 7, 10, 11, 16, 17, 18});
}

TEST_P(PathAttributionTest, LinearHeadsGoThroughTheirBranchsColumnsOfO) {
  make();
  const AttentionPlan cheap = all_linear();
  const PathTwin::Run other = linear_run();
  expect_direct({.decay = kDecay, .cheap = &cheap}, other);
  expect_through({.decay = kDecay, .cheap = &cheap}, other, {head_at(1, 1), head_at(3, 0)},
                 rows_from(0));
}

TEST_P(PathAttributionTest, SendersBelowNoReceiverHaveNone) {
  make();
  MeteredModel model(*model_);
  const PatchSetting setting{.method = PatchMethod::kAttribution};
  EXPECT_EQ(path_effects(model, pair(), setting, std::vector{head_at(2, 0), head_at(3, 1)},
                         std::vector{head_at(2, 1)})
                ->effects,
            std::vector(2, 0.0));
  EXPECT_EQ(path_effects(model, pair(), setting, std::vector{head_at(2, 0)}, {})->effects,
            std::vector(1, 0.0));
}

// By hand: two texts without the LM head, and once forward and once backward through MLP and output
// projection of the answer's rows of each layer, whatever the number of heads.
TEST_P(PathAttributionTest, AllDirectEffectsCostOneBackwardPass) {
  make();
  MeteredModel model(*model_);
  ASSERT_TRUE(direct_effects(model, pair(), {.method = PatchMethod::kAttribution}).has_value());
  const ModelShape& shape = model_->shape();
  const double lm_head = 2.0 * 12 * 11 * kAnswer;
  const double text = forced_flops(AttentionPlan::full(shape.heads), shape, kPrompt, kAnswer);
  const double row = 2.0 * 12 * 4 * 4 + 3 * 2.0 * 12 * 10;
  EXPECT_DOUBLE_EQ(model.meter().flops,
                   2 * (text - lm_head) + 2.0 * kLayers * kAnswer * row + 2 * 2.0 * kAnswer * 12);
  EXPECT_EQ(model.meter().backward_tokens, kAnswer);
}

STRATA_ON_EVERY_DEVICE(PathAttributionTest);

}  // namespace
}  // namespace strata
