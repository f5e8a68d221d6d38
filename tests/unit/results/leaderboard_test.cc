// Leaderboards of made-up answers, with every figure worked out by hand.
#include "results/reports/leaderboard.h"

#include "leaderboard_fixture.h"
#include "results/reports/format.h"

namespace strata::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr double kTolerance = 1e-9;

TEST(Leaderboard, RanksMethodsByTheGapTheyCloseAndKeepsControlsAndReferencesOutside) {
  const TemporaryFolder folder;
  const Small small(folder);
  const LeaderboardBlock block = small.only_block();
  std::vector<std::string> names;
  std::vector<int> ranks;
  std::vector<RowKind> kinds;
  for (const LeaderboardRow& row : block.rows) {
    names.push_back(row.name);
    ranks.push_back(row.rank.value_or(0));
    kinds.push_back(row.kind);
  }
  EXPECT_THAT(names,
              ElementsAre("nll_guided[restore]", "periodic-best = periodic[0]", "random (3 draws)",
                          "periodic (2 offsets)", "inverted", "full", "none"));
  EXPECT_THAT(ranks, ElementsAre(1, 2, 0, 0, 0, 0, 0));
  using enum RowKind;
  EXPECT_THAT(kinds,
              ElementsAre(kRanked, kRanked, kControl, kControl, kControl, kReference, kReference));
}

TEST(Leaderboard, ComputesARowAsByHand) {
  const TemporaryFolder folder;
  const Small small(folder);
  const LeaderboardBlock block = small.only_block();
  const LeaderboardRow& restore = block.rows[0];
  EXPECT_NEAR(restore.gap_closed->value, (2.1 - 0.5) / (2.1 - 0.1), kTolerance);
  EXPECT_NEAR(restore.answer_nll->value, 0.5, kTolerance);
  // 3 of 4 right.
  EXPECT_NEAR(restore.gen_contains->value, 0.75, kTolerance);
  EXPECT_NEAR(restore.gen_contains->interval->low, 0.3006418, 1e-6);
  EXPECT_NEAR(restore.gen_contains->interval->high, 0.9544127, 1e-6);
  EXPECT_NEAR(restore.tf_exact->value, 0.5, kTolerance);
  // Differences to periodic[0] are −.6, −.8, −.4, −.6: mean −.6, standard error .0816497, t(3)
  // = 3.182446.
  EXPECT_NEAR(restore.nll_minus_periodic_best->value, -0.6, kTolerance);
  EXPECT_NEAR(restore.nll_minus_periodic_best->interval->low, -0.6 - 0.2598457, 1e-6);
  EXPECT_NEAR(restore.nll_minus_periodic_best->interval->high, -0.6 + 0.2598457, 1e-6);
  EXPECT_EQ(restore.beats_random, 3U);
  EXPECT_NEAR(restore.kv_share, 0.125, kTolerance);
  EXPECT_NEAR(*restore.prefill_flops_share, 0.7, kTolerance);
  EXPECT_NEAR(restore.kv_bytes, 1750, kTolerance);
  EXPECT_NEAR(*restore.kv_saved, 0.5625, kTolerance);
  EXPECT_NEAR(*restore.prefill_ms, 12.5, kTolerance);
  EXPECT_EQ(restore.timed_samples, 4U);
  EXPECT_EQ(restore.selection_cost.evaluations, 40);
  EXPECT_EQ(restore.supervision, "answers");
  EXPECT_EQ(restore.strip->kept_share, (std::vector<double>{0, 1, 0, 0, 0, 0, 0, 0}));
  // distance 20 … 23 is at least the window of 16 in all samples.
  EXPECT_EQ(block.beyond_window, 4U);
  EXPECT_EQ(block.samples, 4U);
  EXPECT_EQ(block.clusters, 4U);
  EXPECT_EQ(block.budget_units, 1);
  EXPECT_EQ(block.units, 8);
  EXPECT_THAT(block.devices, ElementsAre("cpu, 1 thread, float32 (Toy CPU)"));
}

TEST(Leaderboard, MemoryIsTheLargestOfASampleWhereEverySampleHasOne) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "all",
             .group = {},
             .layers = {1},
             .nll = {1, 1, 1, 1},
             .peak_bytes = {100, 400, 300, 200}});
  board.add({.label = "old",
             .group = {},
             .layers = {2},
             .nll = {2, 2, 2, 2},
             .peak_bytes = {100, std::nullopt, 300, 200}});
  const auto rows = board.table().blocks.at(0).rows;
  ASSERT_THAT(rows, SizeIs(2));
  for (const LeaderboardRow& row : rows)
    EXPECT_EQ(row.peak_bytes, row.name == "all" ? std::optional(400.0) : std::nullopt) << row.name;
}

TEST(Leaderboard, ReportsRandomAsMedianAndRangeOfItsDraws) {
  const TemporaryFolder folder;
  const Small small(folder);
  const LeaderboardRow random = small.only_block().rows[2];
  EXPECT_EQ(random.draws, 3U);
  // NLL 1.7, 1.9 and 2.3 close .2, .1 and −.1 of the gap.
  EXPECT_NEAR(random.gap_closed->value, 0.1, kTolerance);
  EXPECT_NEAR(random.gap_closed->interval->low, -0.1, kTolerance);
  EXPECT_NEAR(random.gap_closed->interval->high, 0.2, kTolerance);
  EXPECT_NEAR(random.answer_nll->value, 1.9, kTolerance);
  EXPECT_EQ(random.timed_samples, 12U);
  EXPECT_THAT(random.run_ids, SizeIs(3));
  EXPECT_FALSE(random.strip);
  EXPECT_FALSE(random.beats_random);
}

TEST(Leaderboard, DrawsShowTheMedianOfTheirFlopsAndTheTotalOfTheirCost) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  for (const int draw : {0, 1, 2})
    board.add({.label = fmt::format("random[{}]", draw),
               .group = "random",
               .layers = {draw},
               .nll = {1, 1, 1, 1},
               .prefill_flops = 1e8 * (draw == 0 ? 9 : draw),
               .with_selection = true});
  const LeaderboardRow row = board.only_block().rows.at(0);
  EXPECT_EQ(row.draws, 3U);
  EXPECT_EQ(row.prefill_flops, 2e8);
  EXPECT_EQ(row.selection_cost.evaluations, 3 * 40);
}

TEST(Leaderboard, TimesBearTheDeviceWhereATableHasSeveral) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a", .group = {}, .layers = {1}, .nll = {1, 1, 1, 1}});
  EXPECT_THAT(render(board.table(), {}), HasSubstr(" 12.5 (4)  "));
  board.add({.label = "b", .group = {}, .layers = {2}, .nll = {1, 1, 1, 1}, .device = "cuda:X"});
  const std::string text = render(board.table(), {});
  EXPECT_THAT(text, HasSubstr("[1] cpu, 1 thread, float32 (Toy CPU); [2] cuda:X, 1 thread"));
  EXPECT_THAT(text, HasSubstr(" 12.5 (4) [1]  "));
  EXPECT_THAT(text, HasSubstr(" 12.5 (4) [2]  "));
}

TEST(Leaderboard, MoreKvBytesThanFullAttentionAreShownAsMore) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add(
      {.label = "a", .group = {}, .layers = {1}, .nll = {1, 1, 1, 1}, .kv_bytes = 4000 * 21 / 20});
  EXPECT_THAT(render(board.table(), {}), HasSubstr("4.1 KiB (+5 %)"));
}

TEST(Leaderboard, ChoosesPeriodicBestOnCalibrationAndNamesTheOracleApart) {
  const TemporaryFolder folder;
  const Small small(folder);
  const LeaderboardBlock block = small.only_block();
  // periodic[1] is better on test (.9 against 1.1), periodic[0] on calibration.
  EXPECT_NEAR(block.rows[1].answer_nll->value, 1.1, kTolerance);
  EXPECT_FALSE(block.rows[1].nll_minus_periodic_best);
  EXPECT_THAT(
      block.notes,
      ElementsAre("oracle: the best periodic offset on test is periodic[1], NLL 0.900 (chosen "
                  "on the test samples, so not ranked)",
                  "1 seed: nll_guided[restore] (says nothing of the selector: 5 calibration seeds "
                  "are needed)"));
}

TEST(Leaderboard, LikelihoodsAloneAreShownAsHarmToFullAttention) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  const std::vector<int> all = {0, 1, 2, 3, 4, 5, 6, 7};
  board.add({.label = "full",
             .layers = all,
             .nll = {3.0, 3.2, 3.1, 3.3},
             .budget = 0,
             .generated = false});
  board.add({.label = "none",
             .layers = {},
             .nll = {3.4, 3.6, 3.5, 3.7},
             .budget = 0,
             .generated = false});
  const std::vector<double> nll = {3.1, 3.3, 3.1, 3.4};
  board.add({.label = "a", .layers = {1}, .nll = nll, .generated = false});
  const LeaderboardTable table = board.table();
  const LeaderboardBlock& block = table.blocks.at(0);
  EXPECT_FALSE(block.generated);
  const LeaderboardRow& row = block.rows.at(0);
  EXPECT_FALSE(row.gen_contains || row.tf_exact);
  const Estimate paired = paired_estimate(nll, std::vector<double>{3.0, 3.2, 3.1, 3.3}, {});
  EXPECT_NEAR(row.nll_minus_full->value, 0.075, kTolerance);
  EXPECT_NEAR(row.nll_minus_full->interval->low, paired.interval->low, kTolerance);
  EXPECT_FALSE(block.rows.at(1).nll_minus_full);  // full itself
  const std::string text = render(table, {});
  EXPECT_THAT(text, HasSubstr("NLL  perplexity             ΔNLL to full"));
  EXPECT_THAT(text, HasSubstr("3.225 [2.986, 3.464]       25.15  +0.075 [-0.005, +0.155]"));
  EXPECT_THAT(text, Not(HasSubstr("gen_contains %")));
}

TEST(Leaderboard, HasNoPeriodicBestWithoutCalibration) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "periodic[0]", .group = "periodic", .layers = {0}, .nll = {1, 1, 1, 1}});
  board.add({.label = "periodic[1]", .group = "periodic", .layers = {1}, .nll = {2, 2, 2, 2}});
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.rows[0].name, "periodic (2 offsets)");
  EXPECT_EQ(block.rows[0].kind, RowKind::kControl);
  EXPECT_THAT(block.marks, Contains(HasSubstr("periodic-best: no offset has a calibration NLL")));
}

TEST(Leaderboard, MarksTasksThatAreTooHardOrTooEasy) {
  const TemporaryFolder folder;
  {
    Board board(folder.file("hard.db"), 4);
    board.add_references({1, 1, 1, 0}, {0, 0, 0, 0});
    EXPECT_THAT(board.only_block().marks,
                AllOf(Contains("floor: full attention answers 75.0 % (below 90 %)"),
                      Not(Contains(HasSubstr("ceiling")))));
  }
  Board board(folder.file("easy.db"), 4);
  board.add_references({1, 1, 1, 1}, {1, 0, 0, 0});
  board.add({.label = "random[0]",
             .group = "random",
             .layers = {0},
             .nll = {1, 1, 1, 1},
             .contains = {1, 1, 1, 0}});
  EXPECT_THAT(
      board.only_block().marks,
      AllOf(Contains("ceiling: none answers 25.0 % (above 20 %)"),
            Contains("too easy: the median random plan answers 75.0 % (above 70 %)"),
            Contains(
                "check: none answers 25.0 % of the 4 samples whose needle lies beyond the window"),
            Contains("random: 1 draw, a distribution needs 20"),
            Not(Contains(HasSubstr("floor")))));
}

TEST(Leaderboard, AnInvertedSelectionThatBeatsRandomIsASignOfABug) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "random[0]", .group = "random", .layers = {0}, .nll = {1, 1, 1, 1}});
  board.add({.label = "inverted", .group = "inverted", .layers = {1}, .nll = {0.9, 0.9, 0.9, 0.9}});
  EXPECT_THAT(
      board.only_block().signs,
      ElementsAre("inverted: NLL: expected above the median random plan's 1.000, found 0.900"));
  EXPECT_THAT(render(board.table(), {}),
              HasSubstr("! 1 selection shows a sign of a bug: inverted: NLL: expected above"));
  Board sound(folder.file("b.db"), 4);
  sound.add_references();
  sound.add({.label = "random[0]", .group = "random", .layers = {0}, .nll = {1, 1, 1, 1}});
  sound.add({.label = "inverted", .group = "inverted", .layers = {1}, .nll = {1.1, 1, 1.1, 1.1}});
  EXPECT_THAT(sound.only_block().signs, IsEmpty());
  EXPECT_THAT(render(sound.table(), {}), Not(HasSubstr("sign of a bug")));
}

TEST(Leaderboard, SignsThatSelectionsRecordedAreALineUnderTheTable) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const std::string two = R"({"signs_of_a_bug": ["gates: expected a, found b", "x: y"]})";
  board.add({.label = "one",
             .group = {},
             .layers = {0},
             .nll = {1, 1, 1, 1},
             .with_selection = true,
             .diagnostics_json = two});
  board.add({.label = "other",
             .group = {},
             .layers = {1},
             .nll = {1, 1, 1, 1},
             .with_selection = true,
             .calibration = "another",
             .diagnostics_json = R"({"signs_of_a_bug": ["scores: expected c, found d"]})"});
  board.add(
      {.label = "sound", .group = {}, .layers = {2}, .nll = {1, 1, 1, 1}, .with_selection = true});
  const std::string text = render(board.table(), {});
  EXPECT_THAT(
      text,
      HasSubstr("\n! 2 selections show a sign of a bug: one: gates: expected a, found b; one: "
                "x: y; other: scores: expected c, found d\n"));
  EXPECT_GT(text.find("2 selections"), text.find("sound"));
  EXPECT_THAT(render(board.table(), {.format = ReportFormat::kCsv}),
              HasSubstr("sign of a bug: one: gates"));
}

TEST(Leaderboard, SavesNoKvBytesUnderDecodeRuleFull) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a",
             .layers = {1},
             .nll = {1, 1, 1, 1},
             .rule = DecodeRule::kFull,
             .kv_bytes = 4000});
  for (const LeaderboardBlock& block : board.table().blocks) {
    if (block.decode_rule != DecodeRule::kFull) continue;
    ASSERT_EQ(block.rows[0].name, "a");
    EXPECT_EQ(block.rows[0].kv_saved, 0.0);
    // Full attention is the same under both rules; `none` is not, and this rule has no run of it.
    EXPECT_EQ(block.rows[1].name, "full");
    EXPECT_THAT(block.rows, SizeIs(2));
    EXPECT_THAT(block.marks,
                Contains("no finished run of none: the gap closed, and so the ranking, needs it"));
    return;
  }
  FAIL() << "no block for decode rule full";
}

TEST(Leaderboard, NotesRowsThatDoNotMatchTheBudgetWithinOnePercent) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add({.label = "b", .layers = {2}, .nll = {1, 1, 1, 1}, .kv_bytes = 1760});
  board.add({.label = "c", .layers = {3}, .nll = {1, 1, 1, 1}, .kv_bytes = 2000});
  EXPECT_THAT(board.only_block().notes,
              ElementsAre("not matched, so not ranked: c has +13.6 % KV bytes and +0.0 % prefill "
                          "FLOPs of the median row"));
}

TEST(Leaderboard, EqualGapsShareARankAndEqualLabelsAreToldApart) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add({.label = "a", .layers = {2}, .nll = {1, 1, 1, 1}});
  board.add({.label = "b", .layers = {3}, .nll = {2, 2, 2, 2}});
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.rows[0].rank, 1);
  EXPECT_EQ(block.rows[1].rank, 1);
  EXPECT_EQ(block.rows[2].rank, 3);
  EXPECT_EQ(block.rows[0].name, "a #" + block.rows[0].run_ids[0].substr(0, 6));
  EXPECT_NE(block.rows[0].name, block.rows[1].name);
  EXPECT_EQ(block.rows[2].name, "b");
}

TEST(Leaderboard, ShowsARepeatedRunOnceAndItsLatestAnswersAndFlagsDisagreement) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add({.label = "a", .layers = {1}, .nll = {1.005, 1, 1.5, 1}});
  const LeaderboardTable table = board.table();
  EXPECT_EQ(table.blocks[0].rows[0].name, "a");
  EXPECT_NEAR(table.blocks[0].rows[0].answer_nll->value, (1.005 + 1 + 1.5 + 1) / 4, kTolerance);
  EXPECT_THAT(table.notes, ElementsAre(HasSubstr("executions disagree on 1 of 4 samples")));
}

TEST(Leaderboard, LeavesOutUnfinishedAndUnansweredRunsAndSaysSo) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add({.label = "b", .layers = {2}, .nll = {1, 1}});
  board.add({.label = "c", .layers = {3}, .nll = {1, 1, 1, 1}, .status = RunStatus::kFailed});
  board.add({.label = "d", .layers = {0}, .nll = {}, .status = RunStatus::kInterrupted});
  const LeaderboardTable table = board.table();
  EXPECT_THAT(table.blocks[0].rows, SizeIs(3));
  EXPECT_THAT(table.notes,
              ElementsAre(AllOf(HasSubstr("b (run "), HasSubstr("not shown: 2 of 4 samples")),
                          "1 run not shown: failed", "1 run not shown: interrupted"));
}

TEST(Leaderboard, TakesAllAnswersFromOneDeviceWhereOneHasThemAll) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .device = "cpu"});
  board.add({.label = "a", .layers = {1}, .nll = {3, 3, 3}, .device = "cuda"});
  const LeaderboardBlock block = board.only_block();
  EXPECT_NEAR(block.rows[0].answer_nll->value, 1, kTolerance);
  EXPECT_THAT(block.devices, Each(HasSubstr("cpu")));
}

TEST(Leaderboard, UsesTheBootstrapOverClustersWhereSamplesShareThem) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4, {"x", "x", "y", "y"});
  board.add_references();
  board.add({.label = "p",
             .group = "periodic",
             .layers = {0},
             .nll = {2, 2, 2, 2},
             .calibration_nll = 1});
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1.5, 1.5}});
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.clusters, 2U);
  EXPECT_THAT(block.marks, Contains(HasSubstr("2 clusters: fewer than 20")));
  // Of two clusters with −1 and −.5 the percentile interval is the range.
  EXPECT_NEAR(block.rows[0].nll_minus_periodic_best->interval->low, -1, kTolerance);
  EXPECT_NEAR(block.rows[0].nll_minus_periodic_best->interval->high, -0.5, kTolerance);
}

}  // namespace
}  // namespace strata::test
