// What sweeps of made-up answers say of their keys, worked out by hand.
#include "results/reports/ablation.h"

#include "leaderboard_fixture.h"

namespace strata::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr double kTolerance = 1e-9;

Ablation ablation_of(const Board& board) { return must(ablation(board.store(), {})); }

// none 2.1, full .1: the gap is 2.
Entry chosen(const std::string& label, std::vector<int> layers, double nll, const char* config) {
  Entry entry = {.label = label, .layers = std::move(layers), .nll = std::vector<double>(4, nll)};
  entry.config_json = config;
  return entry;
}

constexpr const char* kFew = R"({"calibration":{"samples":4}})";
constexpr const char* kMany = R"({"calibration":{"samples":64}})";

TEST(Ablation, MainEffectsAndInteractionsAreOverSettingsThatDifferInNothingElse) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add(chosen("a", {1}, 1.1, kFew));   // closes .5
  board.add(chosen("b", {2}, 0.9, kFew));   // .6
  board.add(chosen("a", {3}, 0.5, kMany));  // .8
  board.add(chosen("b", {4}, 0.7, kMany));  // .7
  const Ablation swept = ablation_of(board);
  EXPECT_THAT(swept.swept, Contains("calibration.samples: 4, 64"));
  EXPECT_THAT(swept.swept, Contains("strategy: a, b"));
  ASSERT_THAT(swept.effects, SizeIs(2));
  const Effect& prompts = swept.effects[0];
  EXPECT_EQ(prompts.key + prompts.value + prompts.reference, "calibration.samples644");
  EXPECT_EQ(prompts.settings, 2U);
  EXPECT_NEAR(prompts.gap_closed.value, (0.3 + 0.1) / 2, kTolerance);
  EXPECT_NEAR(*prompts.nll, (-0.6 - 0.2) / 2, kTolerance);
  // t(1) = 12.7062 and a standard error of .1
  EXPECT_NEAR(prompts.gap_closed.interval->high, 0.2 + 1.27062, 1e-5);
  ASSERT_THAT(swept.interactions, SizeIs(1));
  // The effect of prompts with b (.1) less that with a (.3).
  EXPECT_NEAR(swept.interactions[0].gap_closed.value, -0.2, kTolerance);
}

TEST(Ablation, FrontsHoldWhatNothingCheaperReachesAndNeitherRandomDrawsNorOffsets) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const auto add = [&](const char* label, int layer, double nll, double flops, std::int64_t kv) {
    board.add({.label = label,
               .group = std::string(label).starts_with("random") ? "random" : "",
               .layers = {layer},
               .nll = std::vector<double>(4, nll),
               .kv_bytes = kv,
               .prefill_flops = flops});
  };
  add("cheap", 1, 1.0, 6e8, 1500);
  add("good", 2, 0.5, 8e8, 1500);
  add("dominated", 3, 0.6, 9e8, 1600);
  add("small", 4, 0.9, 9e8, 1200);
  add("random[0]", 5, 0.1, 5e8, 1000);
  std::map<std::string, std::string> fronts;
  for (const ParetoPoint& point : ablation_of(board).pareto)
    fronts[point.name] =
        std::string(point.on_flops_front ? "F" : "") + (point.on_kv_front ? "K" : "");
  EXPECT_EQ(fronts,
            (std::map<std::string, std::string>{{"cheap", "F"}, {"good", "FK"}, {"small", "K"}}));
}

// Answers within `spread` of full attention's .1 plus `more`.
std::vector<double> near_full(int samples, double more, double spread) {
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(samples));
  for (int i = 0; i < samples; ++i) out.push_back(0.1 + more + (i % 2 == 0 ? spread : -spread));
  return out;
}

Entry keeping(std::vector<int> layers, std::vector<double> nll) {
  const auto units = static_cast<std::int64_t>(layers.size());
  return {.label = "a",
          .layers = std::move(layers),
          .nll = std::move(nll),
          .contains = {},
          .exact = {},
          .budget = units};
}

std::string needed(int samples, const std::vector<std::vector<double>>& nll) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), samples);
  const auto n = static_cast<std::size_t>(samples);
  board.add_references(std::vector<double>(n, 1.0), std::vector<double>(n, 0.0));
  std::vector<int> layers;
  for (const std::vector<double>& values : nll) {
    layers.push_back(static_cast<int>(layers.size()));
    board.add(keeping(layers, values));
  }
  const Ablation swept = must(ablation(board.store(), {}));
  EXPECT_THAT(swept.curves, SizeIs(1));
  return swept.curves.at(0).needed;
}

TEST(Ablation, TheUnitsNeededAreTheFewestThatAreShownToEqualFullAttention) {
  const auto far = near_full(24, 0.5, 0.1), equal = near_full(24, 0.001, 0.01);
  const auto noisy = near_full(24, 0.001, 0.9);
  EXPECT_EQ(needed(24, {far, equal}), "2");
  EXPECT_EQ(needed(24, {far, far}), "more than 2");
  EXPECT_EQ(needed(24, {far, noisy}), "inconclusive");
  EXPECT_EQ(needed(24, {noisy, equal}), "at most 2 (fewer: inconclusive)");
}

TEST(Ablation, FewClustersAreInconclusiveWhateverTheirAnswers) {
  EXPECT_EQ(needed(4, {near_full(4, 0.5, 0.1), near_full(4, 0, 0.001)}), "inconclusive");
}

TEST(Ablation, CurvesSayTheClustersThatAnAnswerTakes) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 24);
  board.add_references(std::vector<double>(24, 1.0), std::vector<double>(24, 0.0));
  board.add(keeping({0}, near_full(24, 0.5, 0.1)));
  board.add(keeping({0, 1}, near_full(24, 0.001, 0.9)));
  const CurvePoint noisy = ablation_of(board).curves.at(0).points.at(1);
  EXPECT_NEAR(noisy.nll_minus_full.value, 0.001, kTolerance);
  // (z .95 + z .9)² (sd / .02)², sd = .9 sqrt(24 / 23)
  EXPECT_NEAR(static_cast<double>(*noisy.equivalence.n_needed), 8.563847 * 2025 * 24 / 23, 1);
}

TEST(Ablation, AgreementIsOverCalibrationSetsAndWithTheNearestSelector) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const auto add = [&](const char* label, std::vector<int> layers, const char* calibration) {
    board.add({.label = label,
               .layers = std::move(layers),
               .nll = {1, 1, 1, 1},
               .budget = 2,
               .with_selection = true,
               .calibration = calibration});
  };
  add("a", {0, 1}, "x");
  add("a", {0, 2}, "y");
  add("a", {0, 1}, "z");
  add("b", {0, 3}, "x");
  add("c", {4, 5}, "x");
  const std::vector<Agreement> agreements = ablation_of(board).agreements;
  ASSERT_THAT(agreements, SizeIs(3));
  EXPECT_EQ(agreements[0].seeds, 3U);
  EXPECT_EQ(agreements[0].different_sets, 2U);
  EXPECT_NEAR(*agreements[0].jaccard, (1 + 1 / 3.0 + 1 / 3.0) / 3, kTolerance);
  EXPECT_NEAR(*agreements[0].lowest_jaccard, 1 / 3.0, kTolerance);
  EXPECT_EQ(agreements[0].nearest, "b");
  EXPECT_NEAR(*agreements[0].nearest_jaccard, 1 / 3.0, kTolerance);
  EXPECT_FALSE(agreements[1].jaccard);
  // Two of eight: 1 both, 12 one, 15 none, of 28.
  EXPECT_NEAR(agreements[0].chance_jaccard, (1 + 12 / 3.0) / 28, kTolerance);
}

TEST(Ablation, RegretIsTheTransferredNllLessTheOwnOnTheSameSamples) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  Entry own = {.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .with_selection = true};
  board.add(own);
  Entry moved = {.label = "a", .layers = {2}, .nll = {1.2, 1.4, 1.2, 1.4}, .with_selection = true};
  moved.calibration = "elsewhere";
  moved.config_json = R"({"calibration":{"benchmark":{"name":"niah","length":1024}}})";
  board.add(moved);
  const std::vector<Transfer> transfers = ablation_of(board).transfers;
  ASSERT_THAT(transfers, SizeIs(1));
  EXPECT_EQ(transfers[0].calibrated_on, "niah length=1024");
  EXPECT_NEAR(transfers[0].regret.value, 0.3, kTolerance);
  EXPECT_FALSE(transfers[0].p || transfers[0].q);  // four clusters
}

// 100 and 500 steps are two selectors, each on two calibration sets.
TEST(Ablation, SettingsOfOneSelectorAreNotItsSeeds) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  int layer = 0;
  for (const char* steps : {"100", "500"})
    for (const char* calibration : {"one", "other"})
      board.add({.label = "a",
                 .layers = {layer++},
                 .nll = {1, 1, 1, 1},
                 .with_selection = true,
                 .calibration = calibration,
                 .config_json = fmt::format(R"({{"strategy":{{"steps":{},"seed":7}}}})", steps)});
  const Ablation ablation = ablation_of(board);
  std::vector<std::string> names;
  for (const Agreement& agreement : ablation.agreements) {
    names.push_back(agreement.name);
    EXPECT_EQ(agreement.seeds, 2U);
  }
  EXPECT_THAT(names, UnorderedElementsAre("a steps=100", "a steps=500"));
}

TEST(Ablation, TransfersAreCorrectedForAllThatWereTested) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 24);
  board.add_references(std::vector<double>(24, 1.0), std::vector<double>(24, 0.0));
  int layer = 0;
  for (const char* label : {"a", "b"}) {
    board.add(
        {.label = label, .layers = {layer++}, .nll = near_full(24, 1, 0), .with_selection = true});
    const double regret = label[0] == 'a' ? 0.4 : 0.0;
    Entry moved = {.label = label,
                   .layers = {layer++},
                   .nll = near_full(24, 1 + regret, 0.1),
                   .with_selection = true,
                   .calibration = "elsewhere"};
    moved.config_json = R"({"calibration":{"benchmark":{"name":"niah","length":1024}}})";
    board.add(moved);
  }
  const std::vector<Transfer> transfers = ablation_of(board).transfers;
  ASSERT_THAT(transfers, SizeIs(2));
  EXPECT_NEAR(*transfers[0].q, 2 * *transfers[0].p, kTolerance);  // the smaller of two
  EXPECT_NEAR(*transfers[1].q, *transfers[1].p, kTolerance);
  EXPECT_LT(*transfers[0].q, 0.01);
}

TEST(Ablation, ThePageHasEverySectionAndCsvItsTables) {
  const TemporaryFolder folder;
  const Ablation swept = must(ablation(Small(folder).store(), {}));
  EXPECT_THAT(render(ablation_page(swept), {}), HasSubstr("main effects: "));
  EXPECT_THAT(render(ablation_page(swept), {.format = ReportFormat::kCsv}),
              HasSubstr("table,key,value,against,settings,"));
  EXPECT_THAT(render(ablation_page(swept), {.format = ReportFormat::kMarkdown}),
              HasSubstr("| strategy | budget | NLL |"));
}

TEST(Ablation, AKeyThatNoRunHasIsAnError) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  LeaderboardRequest request;
  request.by = {"nope"};
  const Result<Ablation> wrong = ablation(board.store(), request);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().text(), HasSubstr("no run has a key 'nope'"));
}

TEST(Ablation, ADatabaseWithoutSelectorsIsAnError) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const Result<Ablation> none = ablation(board.store(), {});
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().text(), HasSubstr("no finished run of a selector"));
}

}  // namespace
}  // namespace strata::test
