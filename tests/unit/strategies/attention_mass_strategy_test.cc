// attention_mass on a small random model: the needle's mass against loops over every pair of
// positions.
#include <gtest/gtest.h>

#include "tests/unit/strategies/tiny_selection.h"

namespace strata {
namespace {

constexpr double kTolerance = 1e-10;

class AttentionMassStrategyTest : public testing::TinySelectionTest {
 protected:
  AttentionMassStrategyTest() {
    for (std::size_t s = 0; s < calibration_.samples.size(); ++s)
      calibration_.samples[s].metadata["needle"] = {begin(s), begin(s) + 3};
  }
  static std::size_t begin(std::size_t sample) { return 5 + 4 * sample; }

  // [layer][head], over the first `samples`.
  std::vector<std::vector<double>> oracle(std::size_t row, std::size_t samples) const {
    std::vector<std::vector<double>> out(kLayers, std::vector<double>(4, 0.0));
    for (std::size_t s = 0; s < samples; ++s) {
      const auto qk = full_qk(calibration_.samples[s].prompt);
      for (std::size_t layer = 0; layer < kLayers; ++layer)
        for (std::size_t head = 0; head < 4; ++head)
          out[layer][head] += testing::oracle_mass(architecture_, qk[layer], static_cast<int>(head),
                                                   row, {begin(s), begin(s) + 1, begin(s) + 2}) /
                              static_cast<double>(samples);
    }
    return out;
  }
};

TEST_F(AttentionMassStrategyTest, ScoresAreTheNeedlesMassOfEachUnit) {
  const auto mass = oracle(kPrompt - 2, kSamples);  // the query second from the end
  request_.granularity = Granularity::kQueryHead;
  const Selection heads = *select("attention_mass");
  request_.granularity = Granularity::kKvHead;
  const Selection groups = *select("attention_mass", {{"reduce", "max"}});
  request_.granularity = Granularity::kLayer;
  const Selection layers = *select("attention_mass");
  std::vector<double> means;
  for (std::size_t layer = 0; layer < kLayers; ++layer) {
    for (std::size_t head = 0; head < 4; ++head)
      EXPECT_NEAR(heads.scores->score[layer * 4 + head], mass[layer][head], kTolerance);
    means.push_back((mass[layer][0] + mass[layer][1] + mass[layer][2] + mass[layer][3]) / 4);
    EXPECT_NEAR(layers.scores->score[layer], means.back(), kTolerance);
  }
  EXPECT_EQ(layers.mask.kept_units(), testing::highest(means, 2));
  // A mean of maxima, one a sample: recomputed from single samples.
  std::vector<double> maxima(std::size_t{kLayers} * 2, 0.0);
  for (const Sample& sample : calibration_.samples) {
    const auto qk = full_qk(sample.prompt);
    const auto first = sample.metadata["needle"][0].get<std::size_t>();
    for (std::size_t unit = 0; unit < maxima.size(); ++unit) {
      double most = 0;
      for (const int head : {0, 1})
        most = std::max(most, testing::oracle_mass(architecture_, qk[unit / 2],
                                                   static_cast<int>(unit % 2) * 2 + head,
                                                   kPrompt - 2, {first, first + 1, first + 2}));
      maxima[unit] += most / kSamples;
    }
  }
  for (std::size_t unit = 0; unit < maxima.size(); ++unit)
    EXPECT_NEAR(groups.scores->score[unit], maxima[unit], kTolerance);
}

TEST_F(AttentionMassStrategyTest, QueryAndSamplesAreKeys) {
  const auto mass = oracle(kPrompt - 5, 2);
  const Selection selection =
      *select("attention_mass", {{"query_from_end", 5}, {"max_samples", 2}});
  for (std::size_t layer = 0; layer < kLayers; ++layer)
    EXPECT_NEAR(selection.scores->score[layer],
                (mass[layer][0] + mass[layer][1] + mass[layer][2] + mass[layer][3]) / 4,
                kTolerance);
  EXPECT_EQ(selection.diagnostics["samples"], 2);
}

TEST_F(AttentionMassStrategyTest, IsSupervisedBySpansAndRefusesToGoWithoutThem) {
  EXPECT_EQ(made("attention_mass")->needs().supervision(), "spans");
  EXPECT_NE(select("attention_mass", {{"query_from_end", 30}})
                .error()
                .text()
                .find("query_from_end is 30; expected a token behind the needle"),
            std::string::npos);
  calibration_.samples[1].metadata["needle"] = {38, 41};
  EXPECT_NE(select("attention_mass").error().text().find("tokens 38 to 41 of a prompt of 40"),
            std::string::npos);
  calibration_.samples[1].metadata.clear();
  const std::string text = select("attention_mass").error().text();
  EXPECT_NE(text.find("does not say where its needle is"), std::string::npos);
  EXPECT_NE(text.find("hint: calibrate on a benchmark that places needles"), std::string::npos);
}

}  // namespace
}  // namespace strata
