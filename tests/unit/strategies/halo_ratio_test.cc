// halo_ratio: its arithmetic against hand values, its metrics on a small random model against the
// dense oracle.
#include "strategies/halo_ratio.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/unit/strategies/tiny_selection.h"

namespace strata {
namespace {

using testing::Keys;

TEST(HaloRatiosTest, AreTheHandsWithTheUnitOfBestCommonSenseAtEpsilon) {
  const std::vector<double> recall = {0.75, 0.25, 0.5}, commonsense = {0.5, 0.25, 0.75};
  const HaloRatios ratios = halo_ratios(recall, commonsense, 1.0 / 64);
  EXPECT_EQ(ratios.numerator, (std::vector<double>{0, 0.5, 0.25}));
  EXPECT_EQ(ratios.denominator, (std::vector<double>{0.265625, 0.515625, 0.015625}));
  EXPECT_EQ(ratios.epsilon_unit, 2u);
  EXPECT_DOUBLE_EQ(ratios.score[1], 0.5 / 0.515625);
  EXPECT_EQ(ratios.score[2], 16.0);  // the artefact: first, though unit 1 loses more recall
  EXPECT_EQ(halo_ratios(recall, commonsense, 1.0 / 64, 10).score[2], 10.0);
}

TEST(HaloRatiosTest, ADenominatorBelowThreeStandardErrorsIsRefused) {
  // Means −1, 0, 1: deviation 1. Noise ±a of units 0 and 1 against each other: errors a, a, 0.
  const auto rows = [](double a) {
    return std::vector<std::vector<double>>{{-1 + a, 0 - a, 1}, {-1 - a, 0 + a, 1}};
  };
  const Spread spread = spread_over_units(rows(0.3));
  EXPECT_NEAR(spread.deviation, 1, 1e-12);
  EXPECT_NEAR(spread.standard_error, 0.3 * std::sqrt(2.0 / 3), 1e-12);
  EXPECT_TRUE(check_spread(rows(0.40)));   // 3 · 0.327 = 0.98
  EXPECT_FALSE(check_spread(rows(0.42)));  // 3 · 0.343 = 1.03
  // What moves all units of a sample alike is no noise of the comparison.
  EXPECT_TRUE(check_spread({{-1, 0, 1}, {99, 100, 101}}));
  EXPECT_EQ(
      check_spread(rows(0.6)).error().text(),
      "the denominator is noise: NLL of local text differs between units by a standard "
      "deviation of 1 nats, expected at least 3 standard errors of 0.49\n"
      "  hint: raise strategy.text_tokens or calibration.samples, lower mixer.window, or use a "
      "haystack of natural text (benchmark.haystack)");
  EXPECT_FALSE(check_spread({{1, 1, 1}, {1, 1, 1}}));  // never changes
  EXPECT_NE(check_spread({{-1, 0, 1}}).error().text().find("expected at least 2"),
            std::string::npos);
}

class HaloRatioTest : public testing::TinySelectionTest {
 protected:
  static constexpr std::size_t kText = 10, kTextEnd = 36;

  // One text for all samples, so that its NLL has no noise between them; answers differ.
  HaloRatioTest() {
    for (Sample& sample : calibration_.samples) {
      sample.prompt = calibration_.samples[0].prompt;
      sample.metadata["haystack_tokens"] = {3, kTextEnd};
    }
  }

  struct Metrics {
    std::vector<double> recall, commonsense, exact;
  };
  Metrics oracle() const {
    Metrics out;
    const Mask full(request_.granularity, request_.layout, true);
    for (std::size_t unit = 0; unit < units(); ++unit) {
      const AttentionPlan plan = *request_.plan(full.with(unit, false));
      double recall = 0, commonsense = 0, exact = 0;
      for (const Sample& sample : calibration_.samples) {
        Tokens tokens = sample.prompt;
        tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
        const testing::Matrix rows = logits(tokens, plan, kPrompt);
        for (std::size_t i = kTextEnd - kText; i < kTextEnd; ++i)
          commonsense -= testing::nll_of(rows[i - 1], tokens[i]) / kText / kSamples;
        bool right = true;
        for (std::size_t i = kPrompt; i < tokens.size(); ++i) {
          recall -= testing::nll_of(rows[i - 1], tokens[i]) / kAnswer / kSamples;
          right &= std::max_element(rows[i - 1].begin(), rows[i - 1].end()) - rows[i - 1].begin() ==
                   tokens[i];
        }
        exact += right ? 1.0 / kSamples : 0.0;
      }
      out.recall.push_back(recall);
      out.commonsense.push_back(commonsense);
      out.exact.push_back(exact);
    }
    return out;
  }
  static void expect_near(const nlohmann::json& actual, const std::vector<double>& expected) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(actual[i].get<double>(), expected[i], 1e-9) << i;
  }
};

TEST_F(HaloRatioTest, MetricsAndScoresAreTheOraclesWithAndWithoutReuse) {
  for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull})
    for (const bool reuse : {true, false}) {
      request_.rule = rule;
      const Selection selection = *select("halo_ratio", {{"text_tokens", 10}, {"reuse", reuse}});
      const Metrics expected = oracle();
      expect_near(selection.diagnostics["recall"], expected.recall);
      expect_near(selection.diagnostics["commonsense"], expected.commonsense);
      const double best_r = *std::max_element(expected.recall.begin(), expected.recall.end());
      const double best_c =
          *std::max_element(expected.commonsense.begin(), expected.commonsense.end());
      std::vector<double> scores;
      for (std::size_t unit = 0; unit < units(); ++unit) {
        scores.push_back((best_r - expected.recall[unit]) /
                         (best_c - expected.commonsense[unit] + 1e-6));
        EXPECT_NEAR(selection.scores->score[unit], scores[unit],
                    1e-6 * std::max(1.0, scores[unit]));
      }
      EXPECT_EQ(selection.mask.kept_units(), testing::highest(scores, 2));
      EXPECT_EQ(expected.commonsense[selection.diagnostics["epsilon_unit"].get<std::size_t>()],
                best_c);
    }
}

TEST_F(HaloRatioTest, TheReleasedVariantHasItsOwnEpsilonAndACap) {
  const Selection released = *select("halo_ratio", {{"text_tokens", 10}, {"variant", "released"}});
  EXPECT_EQ(released.diagnostics["eps"], 1e-10);
  for (const double score : released.scores->score) EXPECT_LE(score, 50);
  const auto artefact = released.diagnostics["epsilon_unit"].get<std::size_t>();
  EXPECT_EQ(released.diagnostics["denominator"][artefact], 1e-10);
  const Selection capped =
      *select("halo_ratio", {{"text_tokens", 10}, {"cap", 0.5}, {"eps", 0.25}});
  EXPECT_EQ(capped.diagnostics["eps"], 0.25);
  for (const double score : capped.scores->score) EXPECT_LE(score, 0.5);
}

TEST_F(HaloRatioTest, ExactnessIsTheOraclesToo) {
  // The answer that full attention gives, which windowing some of the heads breaks.
  Sample& first = calibration_.samples[0];
  first.answer.clear();
  for (int i = 0; i < kAnswer; ++i) {
    Tokens tokens = first.prompt;
    tokens.insert(tokens.end(), first.answer.begin(), first.answer.end());
    const auto row = logits(tokens, AttentionPlan::full(request_.layout), kPrompt).back();
    first.answer.push_back(
        static_cast<TokenId>(std::max_element(row.begin(), row.end()) - row.begin()));
  }
  request_.granularity = Granularity::kQueryHead;
  const auto selection = select("halo_ratio", {{"text_tokens", 10}, {"recall", "tf_exact"}});
  ASSERT_TRUE(selection) << selection.error().text();
  const Metrics expected = oracle();
  expect_near(selection->diagnostics["recall"], expected.exact);
  const auto [least, most] = std::minmax_element(expected.exact.begin(), expected.exact.end());
  EXPECT_EQ(*least, 0);
  EXPECT_NEAR(*most, 1.0 / 3, 1e-12);  // the other two answers are random
}

TEST_F(HaloRatioTest, RefusesTextThatNeverChangesAndSamplesWithoutAHaystack) {
  EXPECT_EQ(made("halo_ratio")->needs().supervision(), "answers");
  const auto error = [&](const Keys& keys) { return select("halo_ratio", keys).error(); };
  // Read from position 7 on; rows below 6 + 2 see everything.
  EXPECT_EQ(error({{"text_tokens", 28}}).kind, ErrorKind::kUnsupported);
  EXPECT_NE(
      error({{"text_tokens", 28}})
          .text()
          .find(
              "8 to 36, are read from position 7 on; windowing changes nothing before position 8"),
      std::string::npos);
  EXPECT_TRUE(select("halo_ratio", {{"text_tokens", 27}}));
  calibration_.samples[2].metadata.clear();
  EXPECT_NE(error({{"text_tokens", 10}}).text().find("does not say where its haystack is"),
            std::string::npos);
}

}  // namespace
}  // namespace strata
