#include "results/stability.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/rng.h"
#include "results/reports/unit_scores.h"
#include "results/statistics.h"
#include "rows_fixture.h"

namespace strata {
namespace {

using Gains = std::vector<std::vector<double>>;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::size_t> each_its_own(std::size_t n) {
  std::vector<std::size_t> clusters(n);
  std::iota(clusters.begin(), clusters.end(), std::size_t{0});
  return clusters;
}

std::vector<std::string> texts(const TextTable::Row& row) {
  std::vector<std::string> out;
  for (const TextTable::Cell& cell : row) out.push_back(cell.text);
  return out;
}

// `prompts` × `units`: units 0 … K−1 are worth `signal`, the others nothing, with noise of 1.
Gains noisy(std::size_t prompts, std::size_t units, std::size_t k, double signal,
            std::uint64_t seed) {
  Rng rng(seed, "stability test");
  Gains gains(prompts, std::vector<double>(units));
  for (auto& prompt : gains)
    for (std::size_t unit = 0; unit < units; ++unit)
      prompt[unit] = (unit < k ? signal : 0.0) + rng.normal();
  return gains;
}

TEST(Stability, PromptsThatAgreeGiveTheSameSetInEveryHalfAndResample) {
  const Gains gains(8, {0.1, 3.0, 0.2, 2.0, -1.0});
  const Stability stability = *stability_of(gains, each_its_own(8), 2, SelectedEnd::kTop);
  EXPECT_NEAR(stability.jaccard, 1.0, 1e-12);
  EXPECT_NEAR(*stability.rank_correlation, 1.0, 1e-12);
  for (const std::size_t unit : {1U, 3U}) EXPECT_NEAR(stability.inclusion[unit], 1.0, 1e-9);
  for (const std::size_t unit : {0U, 2U, 4U}) EXPECT_EQ(stability.inclusion[unit], 0.0);
  const Stability lowest = *stability_of(gains, each_its_own(8), 1, SelectedEnd::kBottom);
  EXPECT_NEAR(lowest.inclusion[4], 1.0, 1e-9);
}

// Of pure noise, two halves choose 7 of 30 independently: by chance they share 7 · 7/30 = 1.63, so
// the Jaccard is about 1.63 / (14 − 1.63) = 0.13.
TEST(Stability, NoiseIsNotStable) {
  double jaccards = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    const Stability stability =
        *stability_of(noisy(16, 30, 7, 0.0, seed), each_its_own(16), 7, SelectedEnd::kTop);
    EXPECT_FALSE(stability.stable());
    jaccards += stability.jaccard / 10;
    EXPECT_NEAR(std::accumulate(stability.inclusion.begin(), stability.inclusion.end(), 0.0), 7.0,
                1e-9);
  }
  EXPECT_NEAR(jaccards, 0.13, 0.04);
}

TEST(Stability, AStrongSignalIsStableAndItsUnitsAreAlwaysChosen) {
  const Stability stability =
      *stability_of(noisy(16, 30, 7, 5.0, 1), each_its_own(16), 7, SelectedEnd::kTop);
  EXPECT_TRUE(stability.stable());
  EXPECT_GT(stability.jaccard, 0.95);
  for (std::size_t unit = 0; unit < 7; ++unit) EXPECT_GT(stability.inclusion[unit], 0.95);
}

// Two prompts of one essay carry one cluster's news: copies of prompts must not look like
// certainty.
TEST(Stability, CopiesOfPromptsInOneClusterAddNoCertainty) {
  const Gains once = noisy(8, 30, 7, 0.7, 3);
  Gains twice;
  std::vector<std::size_t> clusters;
  for (std::size_t i = 0; i < once.size(); ++i)
    for (int copy = 0; copy < 2; ++copy) {
      twice.push_back(once[i]);
      clusters.push_back(i);
    }
  const Stability a = *stability_of(once, each_its_own(8), 7, SelectedEnd::kTop);
  const Stability b = *stability_of(twice, clusters, 7, SelectedEnd::kTop);
  EXPECT_NEAR(a.jaccard, b.jaccard, 1e-12);
  for (std::size_t unit = 0; unit < 30; ++unit)
    EXPECT_NEAR(a.inclusion[unit], b.inclusion[unit], 1e-12);
  EXPECT_GT(stability_of(twice, each_its_own(16), 7, SelectedEnd::kTop)->jaccard, a.jaccard + 0.05);
}

TEST(Stability, AMeanIsOverThePromptsThatAUnitWasScoredOn) {
  // Unit 2 was scored on two prompts of eight alone, and leads there; units 0 and 1 take turns.
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  Gains gains(8, {1.0, 2.0, kNone});
  for (const std::size_t prompt : {0U, 1U}) gains[prompt][2] = 9.0;
  const Stability stability = *stability_of(gains, each_its_own(8), 1, SelectedEnd::kTop);
  // With chance 4/7 each half has one of the two prompts, and both choose unit 2; else one half has
  // both, and the other chooses unit 1.
  EXPECT_NEAR(stability.jaccard, 4.0 / 7, 0.1);
  EXPECT_NEAR(stability.inclusion[2], 1 - std::pow(0.75, 8), 0.05);
  EXPECT_EQ(stability.inclusion[0], 0.0);
  EXPECT_NEAR(*stability.rank_correlation, 1.0, 1e-12);
  // Of a unit that nothing is known of, nothing is chosen at either end.
  for (auto& prompt : gains) prompt[2] = kNone;
  for (const SelectedEnd end : {SelectedEnd::kTop, SelectedEnd::kBottom})
    EXPECT_EQ(stability_of(gains, each_its_own(8), 1, end)->inclusion[2], 0.0);
}

TEST(Stability, FewerThanFourClustersSayNothing) {
  EXPECT_FALSE(stability_of(Gains(3, {1.0, 2.0}), each_its_own(3), 1, SelectedEnd::kTop));
  EXPECT_FALSE(stability_of(Gains(8, {1.0, 2.0}), std::vector<std::size_t>{0, 0, 0, 1, 1, 1, 2, 2},
                            1, SelectedEnd::kTop));
}

// Gains by hand: unit 1 saves 2 nats, unit 2 one; together, with the redundancy of the two, 2.25.
TEST(UnitEvidence, PrintsIntervalsInclusionAndTheJointGainAgainstTheSingles) {
  const Mask none(Granularity::kLayer, {.layers = 4, .query_heads = 2, .kv_heads = 1}, false);
  ScoreTensor tensor{.context = none};
  for (const float shift : {-0.25F, 0.25F, -0.25F, 0.25F}) {
    tensor.samples.push_back("sample " + std::to_string(tensor.samples.size()));
    tensor.clusters.emplace_back();
    tensor.positions.push_back(2);
    for (const float nll : {3.0F, 4.0F}) tensor.context_nll.push_back(nll);
    for (const float gain : {0.0F, 2.0F + shift, 1.0F, -0.5F})
      for (int position = 0; position < 2; ++position) tensor.gains.push_back(gain);
  }
  SelectionRow selection;
  selection.mask_json = "[[0],[1],[1],[0]]";
  selection.scores_json = "[[0.0],[2.0],[1.0],[-0.5]]";
  const UnitEvidence evidence = test::must(unit_evidence(selection, &tensor, 1.25));
  ASSERT_EQ(evidence.lines.size(), 3U);
  EXPECT_EQ(evidence.lines[0],
            "scores: answer NLL (nats a token) that keeping a unit saves where 0 of 4 units keep "
            "full attention · 4 calibration prompts, 2 positions each");
  EXPECT_THAT(evidence.lines[1], HasSubstr("stable: the highest 2 of two halves of the prompts "
                                           "overlap by a Jaccard of 1.00 (200 random "));
  EXPECT_EQ(
      evidence.lines[2],
      "together: 2 toggles take the calibration prompts' NLL from 3.5000 to 1.2500, a gain of "
      "+2.2500; their single gains add up to +3.0000");
  // 2 ± t(3, .975) · 0.25 · √(4/3) / √4.
  EXPECT_THAT(texts(evidence.table.rows[1]),
              ElementsAre("1", "0", "█", "2.0000", "–", "[1.5407, 2.4593]", "100"));
  EXPECT_THAT(texts(evidence.table.rows[3]),
              ElementsAre("3", "0", "·", "-0.5000", "–", "[-0.5000, -0.5000]", "0"));

  selection.mask_json = "[[1],[1],[0],[0]]";  // a set that the single scores do not give
  EXPECT_THAT(test::must(unit_evidence(selection, &tensor, std::nullopt)).lines[1],
              HasSubstr("the set that was chosen is not the one of highest scores"));
  selection.mask_json = "[[1],[0],[0],[1]]";
  EXPECT_THAT(test::must(unit_evidence(selection, &tensor, std::nullopt)).lines[1],
              HasSubstr("the lowest 2 of two halves"));
}

TEST(UnitEvidence, NamesAnotherMeasureAndDoesNotCompareItWithNll) {
  ScoreTensor tensor{.context = Mask(Granularity::kLayer, {2, 1, 1}, false),
                     .samples = {"a"},
                     .clusters = {""},
                     .positions = {1},
                     .context_nll = {0.5F},
                     .gains = {0.25F, 0.125F}};
  SelectionRow selection;
  selection.mask_json = "[[1],[0]]";
  selection.diagnostics_json = R"({"measure": "KL from full attention"})";
  const UnitEvidence evidence = test::must(unit_evidence(selection, &tensor, 1.25));
  ASSERT_EQ(evidence.lines.size(), 2U);  // no line that sets the plan's NLL against them
  EXPECT_THAT(evidence.lines[0],
              HasSubstr("scores: KL from full attention (nats a token) that keeping "
                        "a unit saves where 0 of 2 units"));
}

TEST(UnitEvidence, SaysWhatWasScoredWhereItWasNoSingleToggle) {
  ScoreTensor tensor{.context = Mask(Granularity::kLayer, {2, 1, 1}, false),
                     .kind = GainKind::kBothSides,
                     .samples = {"a", "b"},
                     .clusters = {"", ""},
                     .positions = {4, 4},
                     .context_nll = std::vector<float>(8, 0.5F),
                     .gains = std::vector<float>(16, 0.25F)};
  SelectionRow selection;
  selection.mask_json = "[[1],[0]]";
  UnitEvidence evidence = test::must(unit_evidence(selection, &tensor, 1.25));
  ASSERT_EQ(evidence.lines.size(), 2U);  // a joint gain is of one context
  EXPECT_EQ(evidence.lines[0],
            "scores: answer NLL (nats a token) that keeping a unit saves where 0 of 2 units keep "
            "full attention, and where 2 do, averaged · 2 calibration prompts, 2 positions each");
  tensor.kind = GainKind::kRegression;
  evidence = test::must(unit_evidence(selection, &tensor, 1.25));
  ASSERT_EQ(evidence.lines.size(), 2U);
  EXPECT_EQ(evidence.lines[0],
            "scores: answer NLL (nats a token) that keeping a unit saves in random sets of 1, by "
            "regression · 2 calibration prompts, each scored by its part in it");
}

TEST(UnitEvidence, AUnitThatARaceDroppedHasTheIntervalOfThePromptsItSaw) {
  ScoreTensor tensor{.context = Mask(Granularity::kLayer, {2, 1, 1}, false),
                     .samples = {"a", "b", "c"},
                     .clusters = {"", "", ""},
                     .positions = {1, 1, 1},
                     .context_nll = {0.5F, 0.5F, 0.5F},
                     .gains = {1.0F, 0.0F, 2.0F, 0.0F, 3.0F, std::nanf("")}};
  SelectionRow selection;
  selection.mask_json = "[[1],[0]]";
  const UnitEvidence evidence = test::must(unit_evidence(selection, &tensor, 1.25));
  EXPECT_THAT(evidence.lines[0], HasSubstr("not every unit was scored on every prompt"));
  // 2 ± t(2, .975) / √3, and 0 on both prompts that it saw.
  EXPECT_EQ(evidence.table.rows[0][5].text, "[-0.4841, 4.4841]");
  EXPECT_EQ(evidence.table.rows[1][5].text, "[0.0000, 0.0000]");
}

TEST(UnitEvidence, SaysWhereItIsNotStable) {
  ScoreTensor tensor{
      .context = Mask(Granularity::kLayer, {.layers = 30, .query_heads = 1, .kv_heads = 1}, true)};
  for (const auto& prompt : noisy(8, 30, 7, 0.0, 5)) {
    tensor.samples.push_back(std::to_string(tensor.samples.size()));
    tensor.clusters.emplace_back();
    tensor.positions.push_back(1);
    tensor.context_nll.push_back(0.5F);
    for (const double gain : prompt) tensor.gains.push_back(static_cast<float>(gain));
  }
  SelectionRow selection;
  const std::vector<std::size_t> order = ranked(tensor.scores());
  Mask mask(Granularity::kLayer, tensor.context.layout(), false);
  for (std::size_t i = 0; i < 7; ++i) mask = mask.with(order[i], true);
  selection.mask_json = to_json(mask).dump();
  const UnitEvidence evidence = test::must(unit_evidence(selection, &tensor, 0.75));
  EXPECT_THAT(evidence.lines[1], HasSubstr("NOT STABLE: the highest 7"));
  EXPECT_THAT(evidence.lines[2], HasSubstr("together: 23 toggles take the calibration prompts' NLL "
                                           "from 0.5000 to 0.7500, a gain of -0.2500"));
}

}  // namespace
}  // namespace strata
