// kl_guided on a small random model: divergences against the dense oracle's distributions.
#include <gtest/gtest.h>

#include "core/score_tensor.h"
#include "tests/unit/strategies/tiny_selection.h"

namespace strata {
namespace {

using testing::Keys;
using testing::kl_of;
// Gains of up to a few nats in float32.
constexpr double kTolerance = 1e-6;

class KlGuidedTest : public testing::TinySelectionTest {
 protected:
  AttentionPlan full() const { return AttentionPlan::full(request_.layout); }

  // KL(full ‖ mask) at each answer position.
  std::vector<double> answer_kl(const Sample& sample, const Mask& mask) const {
    const auto teacher = answer_logits(sample, full()),
               student = answer_logits(sample, *request_.plan(mask));
    std::vector<double> kl;
    for (std::size_t i = 0; i < teacher.size(); ++i) kl.push_back(kl_of(teacher[i], student[i]));
    return kl;
  }
  // At each row of the prompt from the window on.
  std::vector<double> prompt_kl(const Sample& sample, const Mask& mask) const {
    const auto teacher = logits(sample.prompt, full(), kPrompt);
    const auto student = logits(sample.prompt, *request_.plan(mask), kPrompt);
    std::vector<double> kl;
    for (std::size_t row = kWindow; row < kPrompt; ++row)
      kl.push_back(kl_of(teacher[row], student[row]));
    return kl;
  }

  template <typename Oracle>
  void expect_scores(const Keys& keys, bool restore, Oracle&& oracle) {
    const Selection selection = *select("kl_guided", keys);
    const Mask context(request_.granularity, request_.layout, !restore);
    std::vector<double> expected(units(), 0.0);
    for (const Sample& sample : calibration_.samples)
      for (std::size_t unit = 0; unit < units(); ++unit) {
        const auto without = oracle(sample, context.with(unit, false));
        const auto with = oracle(sample, context.with(unit, true));
        for (std::size_t i = 0; i < with.size(); ++i)
          expected[unit] += (without[i] - with[i]) / static_cast<double>(with.size()) / kSamples;
      }
    for (std::size_t unit = 0; unit < units(); ++unit)
      EXPECT_NEAR(selection.scores->score[unit], expected[unit], kTolerance) << unit;
    EXPECT_EQ(selection.mask.kept_units(), testing::highest(expected, 2));
    const ScoreTensor& tensor = *selection.scores->tensor;
    EXPECT_EQ(tensor.context, context);
    const auto base = oracle(calibration_.samples[0], context);
    ASSERT_EQ(tensor.positions[0], base.size());
    for (std::size_t i = 0; i < base.size(); ++i)
      EXPECT_NEAR(tensor.context_nll[i], base[i], kTolerance);
  }
};

TEST_F(KlGuidedTest, ScoresOverTheAnswerAreTheOraclesWithAndWithoutReuse) {
  for (const Granularity granularity : {Granularity::kLayer, Granularity::kKvHead})
    for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull})
      for (const bool restore : {true, false})
        for (const bool reuse : {true, false}) {
          request_.granularity = granularity;
          request_.rule = rule;
          expect_scores(
              {{"mode", restore ? "restore" : "ablate"}, {"reuse", reuse}}, restore,
              [&](const Sample& sample, const Mask& mask) { return answer_kl(sample, mask); });
        }
}

TEST_F(KlGuidedTest, ScoresBeyondTheWindowAreTheOraclesUnderBothDecodeRules) {
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull})
    for (const bool restore : {true, false})
      for (const bool reuse : {true, false}) {
        request_.rule = rule;
        expect_scores({{"mode", restore ? "restore" : "ablate"},
                       {"reuse", reuse},
                       {"positions", "beyond_window"}},
                      restore, [&](const Sample& sample, const Mask& mask) {
                        return prompt_kl(sample, mask);
                      });
      }
}

TEST_F(KlGuidedTest, TheAblatedContextIsTheTeacherItself) {
  const Selection selection = *select("kl_guided", {{"mode", "ablate"}});
  for (const float value : selection.scores->tensor->context_nll) EXPECT_NEAR(value, 0, 1e-12);
  // Windowing one unit can only move away from the teacher.
  for (const float gain : selection.scores->tensor->gains) EXPECT_GE(gain, -1e-12F);
}

TEST_F(KlGuidedTest, BeyondTheWindowNoAnswerIsLookedAt) {
  EXPECT_EQ(made("kl_guided")->needs().supervision(), "answers");
  const Keys keys = {{"positions", "beyond_window"}};
  EXPECT_EQ(made("kl_guided", keys)->needs().supervision(), "text");
  const Selection with = *select("kl_guided", keys);
  for (Sample& sample : calibration_.samples) sample.answer.clear();
  EXPECT_EQ(select("kl_guided", keys)->scores->score, with.scores->score);
}

TEST_F(KlGuidedTest, TheTeacherIsOneEvaluationMoreASample) {
  Meter kl, nll;
  select("kl_guided", {}, &kl);
  select("nll_guided", {}, &nll);
  EXPECT_EQ(kl.evaluations, nll.evaluations + kSamples);
  constexpr double kRows = kPrompt + kAnswer - 1;
  EXPECT_EQ(kl.layer_tokens, nll.layer_tokens + kSamples * ((kLayers - 1) * kRows + kAnswer));
}

TEST_F(KlGuidedTest, BudgetsShareScoresAndAnswerAndPromptDoNot) {
  testing::MapScoreCache cache;
  cache_ = &cache;
  Meter first, second, third;
  select("kl_guided", {}, &first);
  request_.budget.units = 3;
  EXPECT_EQ(select("kl_guided", {}, &second)->reused_cost.flops, first.flops);
  EXPECT_EQ(second.evaluations, 0);
  select("kl_guided", {{"positions", "beyond_window"}}, &third);
  EXPECT_EQ(third.evaluations, first.evaluations);
}

TEST_F(KlGuidedTest, RefusesPromptsInsideTheWindow) {
  for (Sample& sample : calibration_.samples) sample.prompt.resize(kWindow);
  EXPECT_NE(select("kl_guided", {{"positions", "beyond_window"}})
                .error()
                .text()
                .find("no position of the prompt lies beyond the window: 6 tokens, window 6"),
            std::string::npos);
  // Over the answer they score zero: 6 + 3 rows, but the last of them, see everything.
  for (Sample& sample : calibration_.samples) sample.answer.resize(3);
  const Selection selection = *select("kl_guided", {{"mode", "ablate"}});
  for (const double value : selection.scores->score) EXPECT_NEAR(value, 0, 1e-12);
}

}  // namespace
}  // namespace strata
