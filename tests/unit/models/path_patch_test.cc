// Path patching of a small random model against its slow twin.
#include "models/path_patch.h"

#include <gtest/gtest.h>

#include "models/cost.h"
#include "tests/unit/models/path_patch_fixture.h"

namespace strata {
namespace {

using namespace testing;  // NOLINT(google-build-using-namespace)

class PathPatchTest : public PathPatchFixture {
 protected:
  void expect_direct(const PatchSetting& setting, const PathTwin::Run& other) {
    MeteredModel model(*model_);
    const PatchEffects found = *direct_effects(model, pair(), setting);
    EXPECT_NEAR(found.margin, margin(clean_.out_NC), kTolerance);
    EXPECT_NEAR(found.other_margin, margin(other.out_NC), kTolerance);
    for (int layer = 0; layer < kLayers; ++layer)
      for (int head = 0; head < kHeads; ++head)
        EXPECT_NEAR(found.effects[head_at(layer, head)],
                    margin(clean_.out_NC) - margin(twin_->direct(clean_, other, layer, head)),
                    kTolerance)
            << layer << "." << head;
  }

  void expect_through(const PatchSetting& setting, const PathTwin::Run& other,
                      const std::vector<std::size_t>& receivers, const PathTwin::Rows& rows) {
    MeteredModel model(*model_);
    const PatchEffects found = *path_effects(model, pair(), setting, all_heads(), receivers);
    double largest = 0;
    for (const std::size_t sender : all_heads()) {
      EXPECT_NEAR(
          found.effects[sender],
          margin(clean_.out_NC) - margin(twin_->through(clean_, other, sender, receivers, rows)),
          kTolerance)
          << sender;
      largest = std::max(largest, std::abs(found.effects[sender]));
    }
    EXPECT_GT(largest, 0.01);
  }
};

TEST_P(PathPatchTest, DirectEffectsAreThoseOfFrozenAttention) {
  for (const bool sink_logits : {false, true}) {
    make(sink_logits);
    expect_direct({.decay = kDecay}, twin_->run(text(other_prompt_, other_answer_)));
    expect_direct({.decay = kDecay, .own_answer = false}, twin_->run(text(other_prompt_, answer_)));
  }
}

TEST_P(PathPatchTest, EffectsThroughReceiversAreTheirsAlone) {
  for (const bool sink_logits : {false, true}) {
    make(sink_logits);
    const PathTwin::Run other = twin_->run(text(other_prompt_, other_answer_));
    // Chains, two heads of one layer, and receivers of the lowest layer, which no sender reaches.
    expect_through({.decay = kDecay}, other, {head_at(3, 2)}, rows_from(5));
    expect_through({.decay = kDecay}, other,
                   {head_at(0, 1), head_at(1, 0), head_at(1, 3), head_at(2, 2), head_at(3, 1)},
                   rows_from(5));
  }
}

TEST_P(PathPatchTest, ChangedRowsAloneAreCarriedWhereAsked) {
  make();
  const PathTwin::Run other = twin_->run(text(other_prompt_, other_answer_));
  expect_through({.decay = kDecay, .sender_rows = SenderRows::kChanged}, other,
                 {head_at(1, 1), head_at(2, 0), head_at(3, 3)}, {5, 6, 7, 10, 11, 16, 17, 18});
}

TEST_P(PathPatchTest, CheapHeadsSeeTheCleanRunsOwnKeys) {
  make();
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull}) {
    const PaletteEntry window{SlidingWindow{4, 2}, rule};
    const AttentionPlan cheap = *AttentionPlan::from_mask(
        Mask(Granularity::kLayer, model_->layout(), false), FullAttention{}, window.mixer, rule);
    PathTwin::Run other = twin_->run(text(prompt_, answer_), window);
    for (int layer = 0; layer < kLayers; ++layer)
      other.heads_NHD[static_cast<std::size_t>(layer)] =
          twin_->heads(layer, clean_.in_NC[static_cast<std::size_t>(layer)], window);
    expect_direct({.decay = kDecay, .cheap = &cheap}, other);
    expect_through({.decay = kDecay, .cheap = &cheap}, other, {head_at(1, 1), head_at(3, 0)},
                   rows_from(0));
  }
}

TEST_P(PathPatchTest, LinearHeadsAreGivenTheCleanRunsInput) {
  for (const LinearKind kind :
       {LinearKind::kLightning, LinearKind::kGla, LinearKind::kGatedDeltaNet}) {
    kind_ = kind;
    make();
    const AttentionPlan cheap = all_linear();
    const PathTwin::Run other = linear_run();
    expect_direct({.decay = kDecay, .cheap = &cheap}, other);
    expect_through({.decay = kDecay, .cheap = &cheap}, other, {head_at(1, 1), head_at(3, 0)},
                   rows_from(0));
  }
}

// To the bit, whatever the shape of a batch and wherever in it a head is.
TEST_P(PathPatchTest, CleanByCleanChangesNothing) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16})
    for (const std::int64_t rows : {1, 7, 60, 4096}) {
      make(false, dtype);
      other_prompt_ = prompt_;  // read against another answer, so that there is something to change
      MeteredModel model(*model_, {.batch_rows = rows});
      PatchSetting setting{.decay = kDecay, .own_answer = false};
      const std::vector<std::size_t> receivers = {head_at(1, 3), head_at(2, 0), head_at(3, 1)};
      for (const PatchMethod method : {PatchMethod::kExact, PatchMethod::kAttribution}) {
        setting.method = method;
        const PatchEffects direct = *direct_effects(model, pair(), setting);
        EXPECT_EQ(direct.margin, direct.other_margin);
        EXPECT_NE(direct.margin, 0);
        const PatchEffects through = *path_effects(model, pair(), setting, all_heads(), receivers);
        for (const std::size_t head : all_heads()) {
          EXPECT_EQ(direct.effects[head], 0.0) << head << ", rows " << rows;
          EXPECT_EQ(through.effects[head], 0.0) << head << ", rows " << rows;
        }
      }
    }
}

TEST_P(PathPatchTest, BatchesOfAnySizeGiveTheSameEffects) {
  make();
  MeteredModel narrow(*model_, {.batch_rows = 1}), wide(*model_, {.batch_rows = 4096});
  const auto a = direct_effects(narrow, pair(), {})->effects;
  const auto b = direct_effects(wide, pair(), {})->effects;
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], kTolerance);
}

// By hand: two texts in full without the LM head, and MLP and output projection of the answer's
// rows, for each head from its layer on, patched and unpatched.
TEST_P(PathPatchTest, DirectEffectsCostNoAttention) {
  make();
  MeteredModel model(*model_, {.batch_rows = 4096});
  ASSERT_TRUE(direct_effects(model, pair(), {}).has_value());
  const ModelShape& shape = model_->shape();
  const double lm_head = 2.0 * 12 * 11 * kAnswer;
  const double text = forced_flops(AttentionPlan::full(shape.heads), shape, kPrompt, kAnswer);
  // The top layer's own attention is run for the answer's rows alone, as there.
  const double row = 2.0 * 12 * 4 * 4 + 3 * 2.0 * 12 * 10;  // C · H · D, 3 · C · inner
  const double sequence_layers = 2.0 * kHeads * (4 + 3 + 2 + 1);
  const double readouts = (2 + 2 * kLayers * kHeads) * 2.0 * kAnswer * 12;
  EXPECT_DOUBLE_EQ(model.meter().flops,
                   2 * (text - lm_head) + sequence_layers * kAnswer * row + readouts);
  EXPECT_EQ(model.meter().forward_tokens, 2.0 * kText);
  EXPECT_EQ(model.meter().evaluations, 2);
}

// By hand, where a batch holds one text: four senders of layer 2 into one receiver of layer 3, and
// the text in which none is patched, once for all.
TEST_P(PathPatchTest, APathCostsItsReceiversAttentionAlone) {
  make();
  MeteredModel model(*model_, {.batch_rows = 1});
  ASSERT_TRUE(path_effects(model, pair(), {},
                           std::vector{head_at(2, 0), head_at(2, 1), head_at(2, 2), head_at(2, 3)},
                           std::vector{head_at(3, 0)})
                  .has_value());
  const ModelShape& shape = model_->shape();
  const double lm_head = 2.0 * 12 * 11 * kAnswer;
  const double texts =
      2 * (forced_flops(AttentionPlan::full(shape.heads), shape, kPrompt, kAnswer) - lm_head);
  const double close = 2.0 * 12 * 16 + 3 * 2.0 * 12 * 10, q = 2.0 * 12 * 16, kv = 2.0 * 12 * 16;
  const double carried = kText - 5;
  const double pairs = 17 + 18 + 19;  // keys that the answer's rows see
  EXPECT_DOUBLE_EQ(model.meter().flops - texts,
                   5 * (carried * close +                               // layer 2
                        carried * kv + kAnswer * q + 4.0 * 4 * pairs +  // the receiver
                        kAnswer * close) +                              // the readout's layer 3
                       (2 + 5) * 2.0 * kAnswer * 12);                   // readouts
}

TEST_P(PathPatchTest, PairsOfUnequalLengthAreRefused) {
  make();
  MeteredModel model(*model_);
  other_prompt_.pop_back();
  EXPECT_NE(direct_effects(model, pair(), {})
                .error()
                .text()
                .find("the prompts of a pair differ in length: clean 17 tokens, corrupted 16"),
            std::string::npos);
  other_prompt_ = prompt_;
  other_answer_.pop_back();
  EXPECT_NE(direct_effects(model, pair(), {}).error().text().find("the answers of a pair differ"),
            std::string::npos);
  answer_.clear();
  EXPECT_NE(direct_effects(model, pair(), {}).error().text().find("the answer is empty"),
            std::string::npos);
}

STRATA_ON_EVERY_DEVICE(PathPatchTest);

}  // namespace
}  // namespace strata
