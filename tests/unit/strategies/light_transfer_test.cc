// light_transfer on a small random model: its ratios against loops over every pair of positions.
#include <gtest/gtest.h>

#include "tests/unit/strategies/tiny_selection.h"

namespace strata {
namespace {

using testing::highest;
using testing::Keys;
constexpr double kTolerance = 1e-10;

class LightTransferTest : public testing::TinySelectionTest {
 protected:
  struct Setting {
    std::size_t last, sink, recent;
    bool released = false;
  };

  // Lazy ratio of each query head of each layer on one sample.
  std::vector<double> oracle(const Sample& sample, const Setting& setting) const {
    Tokens tokens = sample.prompt;
    if (setting.released) tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
    std::vector<double> out;
    for (const testing::OracleQk& layer : full_qk(tokens))
      for (int head = 0; head < 4; ++head) {
        double sum = 0;
        for (std::size_t row = tokens.size() - setting.last; row < tokens.size(); ++row) {
          std::set<std::size_t> keys;
          for (std::size_t j = 0; j < tokens.size(); ++j) {
            const bool recent = setting.released ? j + setting.recent >= tokens.size()
                                                 : j <= row && row - j < setting.recent;
            const bool sink = j < setting.sink && (setting.released || j <= row);
            if (recent || sink) keys.insert(j);
          }
          sum += testing::oracle_mass(architecture_, layer, head, row, keys);
        }
        out.push_back(sum / static_cast<double>(setting.last));
      }
    return out;
  }

  // Of units of `heads` query heads each, a row a sample.
  std::vector<std::vector<double>> oracle_units(std::size_t heads, const Setting& setting) const {
    std::vector<std::vector<double>> rows;
    for (const Sample& sample : calibration_.samples) {
      const std::vector<double> of_heads = oracle(sample, setting);
      std::vector<double>& row = rows.emplace_back(of_heads.size() / heads, 0.0);
      for (std::size_t i = 0; i < of_heads.size(); ++i)
        row[i / heads] += of_heads[i] / static_cast<double>(heads);
    }
    return rows;
  }

  void expect_ratios(const Keys& keys, const Setting& setting) {
    for (const auto& [granularity, heads] :
         {std::pair{Granularity::kLayer, 4u}, std::pair{Granularity::kKvHead, 2u},
          std::pair{Granularity::kQueryHead, 1u}}) {
      request_.granularity = granularity;
      const Selection selection = *select("light_transfer", keys);
      const auto rows = oracle_units(heads, setting);
      ASSERT_EQ(selection.scores->score.size(), rows[0].size());
      std::vector<double> worth;
      for (std::size_t unit = 0; unit < rows[0].size(); ++unit) {
        const double ratio = (rows[0][unit] + rows[1][unit] + rows[2][unit]) / 3;
        double squares = 0;
        for (const auto& row : rows) squares += (row[unit] - ratio) * (row[unit] - ratio);
        EXPECT_NEAR(selection.diagnostics["lazy_ratio"][unit].get<double>(), ratio,
                    kTolerance * std::max(1.0, ratio));
        EXPECT_NEAR(selection.scores->score[unit], 1 - ratio, kTolerance * std::max(1.0, ratio));
        EXPECT_NEAR(selection.scores->standard_error[unit], std::sqrt(squares / 2 / 3),
                    1e-9 * std::max(1.0, ratio));
        worth.push_back(-ratio);
      }
      EXPECT_EQ(selection.mask.kept_units(), highest(worth, 2));  // the least lazy
    }
  }
};

TEST_F(LightTransferTest, RatiosAreTheOraclesWithThePlansWindowAndSinks) {
  expect_ratios({{"w_last", 8}}, {8, kSinks, kWindow});
}

TEST_F(LightTransferTest, KeysOfTheRatioCanBeSetApartFromThePlan) {
  // Queries whose recent keys reach beyond the first token, and no sinks.
  expect_ratios({{"w_last", 35}, {"w_sink", 0}, {"w_recent", 12}}, {35, 0, 12});
}

TEST_F(LightTransferTest, TheReleasedVariantIsTheOraclesLeak) {
  expect_ratios({{"w_last", 8}, {"variant", "released"}}, {8, kSinks, kWindow, true});
}

TEST_F(LightTransferTest, TheReleasedVariantCountsFutureKeysAndExceedsOne) {
  // Nearly all keys count for every query; the first queries' softmax has but a few of them.
  const Keys wide = {{"w_last", 40}, {"w_recent", 39}};
  const Selection faithful = *select("light_transfer", wide);
  EXPECT_LE(faithful.diagnostics["highest_ratio"].get<double>(), 1 + kTolerance);
  const Selection released =
      *select("light_transfer", {{"w_last", 40}, {"w_recent", 39}, {"variant", "released"}});
  for (const auto& ratio : released.diagnostics["lazy_ratio"]) EXPECT_GT(ratio.get<double>(), 1.5);
}

TEST_F(LightTransferTest, VotesCallTheLazierHalfOfEachPromptLazy) {
  const Selection selection = *select("light_transfer", {{"w_last", 8}, {"aggregation", "votes"}});
  const auto rows = oracle_units(4, {8, kSinks, kWindow});
  std::vector<double> worth(kLayers, 1.0);
  for (const auto& row : rows)
    for (const std::size_t lazy : highest(row, kLayers / 2)) worth[lazy] -= 1.0 / 3;
  for (std::size_t layer = 0; layer < worth.size(); ++layer)
    EXPECT_NEAR(selection.scores->score[layer], worth[layer], 1e-12);
}

TEST_F(LightTransferTest, TheFaithfulVariantLooksAtNoAnswer) {
  EXPECT_EQ(made("light_transfer")->needs().supervision(), "text");
  EXPECT_EQ(made("light_transfer", {{"variant", "released"}})->needs().supervision(), "answers");
  const Selection with = *select("light_transfer", {{"w_last", 8}});
  for (Sample& sample : calibration_.samples) sample.answer.clear();
  EXPECT_EQ(select("light_transfer", {{"w_last", 8}})->scores->score, with.scores->score);
}

TEST_F(LightTransferTest, RunsFullAttentionOnceASampleWhateverTheBudget) {
  testing::MapScoreCache cache;
  cache_ = &cache;
  Meter first, second;
  select("light_transfer", {{"w_last", 8}}, &first);
  EXPECT_EQ(first.forward_tokens, kSamples * kPrompt);
  EXPECT_EQ(first.layer_tokens, kSamples * ((kLayers - 1) * kPrompt + 8));
  request_.budget.units = 4;
  const Selection again = *select("light_transfer", {{"w_last", 8}}, &second);
  EXPECT_EQ(again.mask.kept(), 4u);
  EXPECT_EQ(second.forward_tokens, 0);
  EXPECT_EQ(again.reused_cost.forward_tokens, first.forward_tokens);
  EXPECT_EQ(again.diagnostics["w_recent"], kWindow);  // what was computed comes with its evidence
}

TEST_F(LightTransferTest, RefusesAWindowAsLongAsThePrompt) {
  EXPECT_EQ(select("light_transfer", {{"w_recent", 40}, {"w_last", 8}}).error().text(),
            "calibration sample " + calibration_.samples[0].id.substr(0, 12) +
                ": w_recent is 40; expected fewer than the 40 tokens of the prompt: every ratio "
                "would be 1\n"
                "  hint: set strategy.w_recent, lower mixer.window, or ask for longer prompts");
  EXPECT_NE(select("light_transfer", {{"w_last", 41}}).error().text().find("w_last is 41"),
            std::string::npos);
}

}  // namespace
}  // namespace strata
