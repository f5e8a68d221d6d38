// Signs of a bug: each fires on a defect that was made for it, and is silent without.
#include "strategies/signs.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "strategies/model_checks.h"
#include "strategies/searcher.h"
#include "tests/unit/strategies/tiny_selection.h"

namespace strata {
namespace {

using Outcome = Check::Outcome;

std::vector<Outcome> outcomes(const std::vector<Check>& checks) {
  std::vector<Outcome> out;
  for (const Check& check : checks) out.push_back(check.outcome);
  return out;
}

std::string sentences(const std::vector<Check>& checks) {
  std::string out;
  for (const Check& check : checks) out += sentence(check) + "\n";
  return out;
}

TEST(SignsTest, ValuesThatAreAllEqualAreASign) {
  const std::vector<double> same = {0.5, 0.5, 0.5}, other = {0.5, 0.5, 0.25}, one = {1};
  EXPECT_EQ(sentence(spread_check("gates", same)), "gates: expected not all equal, found all 0.5");
  EXPECT_EQ(spread_check("gates", same).outcome, Outcome::kSign);
  EXPECT_EQ(spread_check("gates", other).outcome, Outcome::kClear);
  EXPECT_EQ(spread_check("gates", other).found, "0.25 to 0.5");
  EXPECT_EQ(spread_check("gates", one).outcome, Outcome::kClear);
}

TEST(SignsTest, ScoresThatAreNoNumbersAreASignAndUnitsLeftOutAreNone) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<double> left_out = {1, -kInfinity, 2}, infinite = {1, kInfinity},
                            none = {std::nan(""), 1};
  EXPECT_EQ(finite_check(left_out).outcome, Outcome::kClear);
  EXPECT_EQ(finite_check(infinite).outcome, Outcome::kSign);
  EXPECT_EQ(finite_check(none).outcome, Outcome::kSign);
  EXPECT_EQ(finite_check(none).found, "1 of 2 not");
}

TEST(SignsTest, ASelectionOfEqualScoresSaysSo) {
  Selection selection{.mask = Mask(Granularity::kLayer, {2, 1, 1}, false)};
  note_score_signs(selection);
  EXPECT_TRUE(selection.diagnostics.empty());  // no scores, nothing to say
  selection.scores = UnitScores{.score = {0.25, 0.25}, .standard_error = {}};
  note_score_signs(selection);
  EXPECT_EQ(signs_in(selection.diagnostics),
            (std::vector<std::string>{"scores: expected not all equal, found all 0.25"}));
  EXPECT_EQ(checks_in(selection.diagnostics).size(), 2u);
}

TEST(SignsTest, ConsaMustReachItsTargetAndNotEndAtOneClamp) {
  EXPECT_EQ(constraint_check(0.0099).outcome, Outcome::kClear);
  EXPECT_EQ(constraint_check(0.0101).outcome, Outcome::kSign);
  EXPECT_EQ(constraint_check(std::nan("")).outcome, Outcome::kSign);
  const std::vector<double> low = {-4.6, -4.6}, both = {-4.6, 4.6}, middle = {1, 1};
  EXPECT_EQ(clamp_check("log alpha", low, -4.6, 4.6).outcome, Outcome::kSign);
  EXPECT_EQ(clamp_check("log alpha", low, -4.6, 4.6).found,
            "2 at the lower and 0 at the upper of 2");
  EXPECT_EQ(clamp_check("log alpha", both, -4.6, 4.6).outcome, Outcome::kClear);
  EXPECT_EQ(clamp_check("log alpha", middle, -4.6, 4.6).outcome, Outcome::kClear);
}

TEST(SignsTest, ALazyRatioAboveOneIsASign) {
  EXPECT_EQ(lazy_ratio_check(1 + 1e-12).outcome, Outcome::kClear);
  EXPECT_EQ(lazy_ratio_check(1.001).outcome, Outcome::kSign);
}

TEST(SignsTest, SwapsMustNotLeadToAWorseSet) {
  SwapOutcome outcome{.mask = Mask(Granularity::kLayer, {2, 1, 1}, false)};
  outcome.start_nll = 1.5;
  outcome.nll = 1.25;
  EXPECT_EQ(swap_check(outcome).outcome, Outcome::kClear);
  outcome.nll = 1.75;
  EXPECT_EQ(swap_check(outcome).outcome, Outcome::kSign);
}

class ModelChecksTest : public testing::TinySelectionTest {
 protected:
  ModelChecksTest() : probe_(probe_of(request_, context_)) {}
  const Sample& sample() const { return calibration_.samples[0]; }

  MeteredModel metered_{*model_};
  SilentProgress progress_;
  SelectionContext context_{.model = &metered_,
                            .calibration = &calibration_,
                            .cache = nullptr,
                            .checkpoint = {},
                            .progress = &progress_};
  ModelProbe probe_;
};

TEST_F(ModelChecksTest, NothingIsFoundOnASoundModelWhateverTheUnits) {
  for (const auto& [granularity, rule] : {std::pair{Granularity::kLayer, DecodeRule::kSame},
                                          std::pair{Granularity::kKvHead, DecodeRule::kFull},
                                          std::pair{Granularity::kQueryHead, DecodeRule::kSame}}) {
    request_.granularity = granularity;
    request_.rule = rule;
    const ModelProbe probe = probe_of(request_, context_);
    const std::vector<Check> model = *model_checks(probe, request_, sample());
    EXPECT_EQ(outcomes(model), std::vector(5, Outcome::kClear)) << sentences(model);
    if (granularity != Granularity::kKvHead) continue;  // it takes seconds
    const std::vector<Check> gradient = *gradient_checks(probe, request_, sample());
    EXPECT_EQ(outcomes(gradient), std::vector(2, Outcome::kClear)) << sentences(gradient);
  }
}

TEST_F(ModelChecksTest, AWindowThatHidesWhatFitsItIsASign) {
  // The model's windows are two tokens shorter than the plan says. (The last token is no query.)
  probe_.nll = [&, sound = probe_.nll](ForcedRequest text) -> Result<double> {
    request_.cheap = SlidingWindow{kWindow - 2, kSinks};
    const AttentionPlan narrow = *request_.plan(Mask(Granularity::kLayer, request_.layout, false));
    request_.cheap = SlidingWindow{kWindow, kSinks};
    if (text.plan->palette()[0].mixer == MixerSpec(SlidingWindow{kWindow, kSinks}))
      text.plan = &narrow;
    return sound(text);
  };
  const std::vector<Check> checks = *model_checks(probe_, request_, sample());
  EXPECT_EQ(outcomes(checks), (std::vector{Outcome::kSign, Outcome::kClear, Outcome::kClear,
                                           Outcome::kClear, Outcome::kClear}))
      << sentences(checks);
}

TEST_F(ModelChecksTest, AnotherRoadToFullAttentionThatDiffersIsASign) {
  probe_.resumed_nll = [sound = probe_.resumed_nll](const Sample& sample) -> Result<double> {
    return *sound(sample) + 1e-9;
  };
  probe_.self_patch = [](const Sample&) -> Result<double> { return 1e-300; };
  probe_.gated = [sound = probe_.gated](const Sample& sample,
                                        std::span<const std::vector<double>>) {
    const std::vector<double> nearly(kLayers, 0.999);
    return sound(sample, {&nearly, 1});
  };
  const std::vector<Check> checks = *model_checks(probe_, request_, sample());
  EXPECT_EQ(outcomes(checks), (std::vector{Outcome::kClear, Outcome::kClear, Outcome::kSign,
                                           Outcome::kSign, Outcome::kSign}))
      << sentences(checks);
}

// The sound pass's gradients, each changed.
template <typename Change>
auto with_gradients(const ModelProbe& probe, Change change) {
  return [sound = probe.gated, change](
             const Sample& sample,
             std::span<const std::vector<double>> gates) -> Result<std::vector<GatedGradient>> {
    ASSIGN_OR_RETURN(std::vector<GatedGradient> out, sound(sample, gates));
    for (GatedGradient& here : out) change(here.gradient);
    return out;
  };
}

TEST_F(ModelChecksTest, AGradientThatIsTooLargeIsASignOfBothKinds) {
  ModelProbe sound = probe_;
  // Passes that both defects share.
  std::map<std::vector<double>, GatedGradient> known;
  sound.gated =
      [&](const Sample& sample,
          std::span<const std::vector<double>> gates) -> Result<std::vector<GatedGradient>> {
    std::vector<GatedGradient> out;
    for (const std::vector<double>& one : gates) {
      if (!known.contains(one))
        known[one] = (*probe_of(request_, context_).gated(sample, {&one, 1}))[0];
      out.push_back(known[one]);
    }
    return out;
  };
  probe_.gated = with_gradients(sound, [](std::vector<double>& g) {
    for (double& s : g) s *= 1.03;
  });
  EXPECT_EQ(outcomes(*gradient_checks(probe_, request_, sample())), std::vector(2, Outcome::kSign));
  probe_.gated = with_gradients(sound, [](std::vector<double>& g) {
    for (double& s : g) s *= 1.005;
  });
  EXPECT_EQ(outcomes(*gradient_checks(probe_, request_, sample())),
            std::vector(2, Outcome::kClear));
}

TEST_F(ModelChecksTest, FlatGradientsAreNotJudged) {
  // Where everything fits the window, gates change nothing.
  request_.cheap = SlidingWindow{100, 0};
  const ModelProbe probe = probe_of(request_, context_);
  const std::vector<Check> checks = *gradient_checks(probe, request_, sample());
  EXPECT_EQ(outcomes(checks), std::vector(2, Outcome::kNotJudged)) << sentences(checks);
}

TEST_F(ModelChecksTest, ASearchedSetThatIsWorseThanTheTopKIsASign) {
  const MaskLosses losses = mask_losses(request_, context_, {});
  Selection greedy = *select("nll_guided", {{"searcher", "greedy"}});
  const auto look = [&] {
    return *search_checks(request_, greedy, losses, kSamples, probe_.resolution.nll);
  };
  EXPECT_EQ(outcomes(look()), std::vector(1, Outcome::kClear)) << sentences(look());
  greedy.mask = bottom_k(request_, greedy.scores->score, 2);  // a search gone wrong
  EXPECT_EQ(outcomes(look()), std::vector(1, Outcome::kSign)) << sentences(look());
  EXPECT_TRUE(search_checks(request_, *select("nll_guided"), losses, kSamples, 0)->empty());
}

TEST_F(ModelChecksTest, SelectorsOfTheTinyModelNoteChecksAndNoSigns) {
  for (const char* name : {"light_transfer", "gate_path"}) {
    Selection selection =
        *select(name, std::string(name) == "light_transfer" ? testing::Keys{{"w_last", 8}}
                                                            : testing::Keys{});
    note_score_signs(selection);
    EXPECT_GE(checks_in(selection.diagnostics).size(), 3u) << name;
    EXPECT_TRUE(signs_in(selection.diagnostics).empty()) << selection.diagnostics.dump();
  }
}

TEST(ResolutionTest, FollowsTheWidthOfActivations) {
  ModelShape shape;
  shape.heads.layers = 30;
  const auto of = [&](std::int64_t bytes) {
    shape.bytes_per_value = bytes;
    return resolution_of(shape);
  };
  EXPECT_LT(of(8).nll, 1e-12);
  EXPECT_LT(of(4).nll, 1e-4);
  EXPECT_LT(of(2).nll, 0.1);
  EXPECT_LT(of(8).nll / of(8).step, of(4).nll / of(4).step);
  EXPECT_LT(of(4).nll / of(4).step, of(2).nll / of(2).step);
}

}  // namespace
}  // namespace strata
