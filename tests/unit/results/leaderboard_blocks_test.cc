// Which runs share a leaderboard, and what heads it.
#include "leaderboard_fixture.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard.h"

namespace strata::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr double kTolerance = 1e-9;

TEST(LeaderboardBlocks, KeepsWindowsAndBudgetsInBlocksOfTheirOwn) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add({.label = "a", .layers = {1, 2}, .nll = {1, 1, 1, 1}, .budget = 2});
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .window = 22});
  const LeaderboardTable table = board.table();
  ASSERT_THAT(table.blocks, SizeIs(3));
  EXPECT_EQ(table.blocks[0].budget_units, 1);
  EXPECT_EQ(table.blocks[1].budget_units, 2);
  EXPECT_EQ(table.blocks[2].window, 22);
  // Distances are 20 … 23.
  EXPECT_EQ(table.blocks[2].beyond_window, 2U);
  EXPECT_THAT(must(leaderboard(board.store(), {.window = 22})).blocks, SizeIs(1));
  EXPECT_THAT(must(leaderboard(board.store(), {.budget_units = 2})).blocks, SizeIs(1));
  const auto nothing = leaderboard(board.store(), {.benchmark = "other"});
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().text(),
            folder.file("a.db") +
                ": no finished run to show\n  hint: 'strata run' records runs; check the filters");
}

TEST(LeaderboardBlocks, DevelopmentSamplesMakeABlockOfTheirOwnThatSaysSoBehindTheTest) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  const std::string development = R"({"length":512,"split":"development"})";
  board.use_samples(0, 4);
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .benchmark_json = development});
  board.add_references({1, 1, 1, 1}, {0, 0, 0, 0}, development);
  board.use_samples(10, 4);  // longer prompts
  board.add({.label = "a",
             .layers = {1},
             .nll = {1, 1, 1, 1},
             .benchmark_json = R"({"length":512,"split":"test"})"});
  const LeaderboardTable table = board.table();
  ASSERT_THAT(table.blocks, SizeIs(2));
  EXPECT_EQ(table.blocks[0].split, "test");
  EXPECT_THAT(table.blocks[0].rows, SizeIs(1));  // the references stand in for nothing
  EXPECT_THAT(table.blocks[0].marks, Contains(HasSubstr("no finished run of full and none")));
  EXPECT_EQ(table.blocks[1].split, "development");
  EXPECT_THAT(table.blocks[1].rows, SizeIs(3));
  const std::string text = render(table, {});
  EXPECT_THAT(text, StartsWith("toy (9372c470) · niah · 4 samples"));
  EXPECT_THAT(text, HasSubstr("toy (9372c470) · niah, development split · 4 samples"));
}

TEST(LeaderboardBlocks, TheSameSamplesUnderTwoSplitsAreTwoBlocks) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  for (const char* split : {"test", "development"}) {
    const std::string benchmark = fmt::format(R"({{"split":"{}"}})", split);
    board.add_references({1, 1, 1, 1}, {0, 0, 0, 0}, benchmark);
    board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .benchmark_json = benchmark});
  }
  const LeaderboardTable table = board.table();
  ASSERT_THAT(table.blocks, SizeIs(2));
  for (const LeaderboardBlock& block : table.blocks) EXPECT_THAT(block.rows, SizeIs(3));
}

TEST(LeaderboardBlocks, ShowsShorterPromptsFirstWhateverTheOrderOfTheirRuns) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 1);
  for (const int first : {40, 10, 30, 20}) {  // prompts of 100 + first tokens
    board.use_samples(first, 4);
    board.add_references();
    board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  }
  std::vector<std::int64_t> prompts;
  for (const LeaderboardBlock& block : board.table().blocks)
    prompts.push_back(block.prompt_tokens_min);
  EXPECT_THAT(prompts, ElementsAre(110, 120, 130, 140));
}

// References say that they select layers, whatever the table is of.
TEST(LeaderboardBlocks, ReferencesAreComparedWithTheDrawsOfATableOfHeads) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  for (const int draw : {0, 1})
    board.add({.label = fmt::format("random[{}]", draw),
               .group = "random",
               .layers = {draw},
               .nll = {1, 1, 1, 1},
               .granularity = Granularity::kKvHead});
  const LeaderboardTable table = board.table();
  for (const LeaderboardRow& row : table.blocks.at(0).rows) {
    if (row.kind != RowKind::kReference) continue;
    EXPECT_EQ(row.random_draws, 2U);
    EXPECT_EQ(row.beats_random, row.name == "full" ? 2U : 0U) << row.name;
  }
}

// Heads and layers that keep other numbers of units, but as many bytes or as many FLOPs.
TEST(LeaderboardBlocks, MatchedOnACostTablesHoldAllBudgetsAndGranularities) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "layers", .layers = {1}, .nll = {1, 1, 1, 1}, .prefill_flops = 7e8});
  board.add({.label = "heads",
             .layers = {2},
             .nll = {0.5, 0.5, 0.5, 0.5},
             .budget = 5,
             .prefill_flops = 8e8,
             .granularity = Granularity::kQueryHead});
  board.add({.label = "more",
             .layers = {3, 4},
             .nll = {0.4, 0.4, 0.4, 0.4},
             .budget = 2,
             .kv_bytes = 2200,
             .prefill_flops = 8.04e8});
  ASSERT_THAT(board.table().blocks, SizeIs(3));

  LeaderboardRequest request;
  request.match = MatchOn::kKvBytes;
  const LeaderboardTable bytes = must(leaderboard(board.store(), request));
  ASSERT_THAT(bytes.blocks, SizeIs(2));
  EXPECT_EQ(bytes.blocks[0].matched, 1750);
  ASSERT_THAT(bytes.blocks[0].rows, SizeIs(4));  // with full and none
  EXPECT_EQ(bytes.blocks[0].rows[0].name, "heads · 2 query heads");
  EXPECT_EQ(bytes.blocks[0].rows[0].rank, 1);
  EXPECT_EQ(bytes.blocks[0].rows[1].name, "layers · 1 layer");
  EXPECT_THAT(render(bytes, {}), HasSubstr("KV bytes within 1 %: 1.7 KiB a sample"));

  request.match = MatchOn::kPrefillFlops;
  const LeaderboardTable flops = must(leaderboard(board.store(), request));
  ASSERT_THAT(flops.blocks, SizeIs(2));
  EXPECT_EQ(flops.blocks[0].rows[0].name, "layers · 1 layer");
  ASSERT_THAT(flops.blocks[1].rows, SizeIs(4));
  EXPECT_EQ(flops.blocks[1].rows[0].name, "more · 2 layers");
  EXPECT_EQ(flops.blocks[1].rows[1].name, "heads · 2 query heads");
}

TEST(LeaderboardBlocks, APlanFromAFileStandsInTheBlockOfTheUnitsItKeeps) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1, 2}, .nll = {1, 1, 1, 1}, .budget = 2});
  board.add({.label = "file", .layers = {0, 3}, .nll = {0.5, 0.5, 0.5, 0.5}, .budget = 0});
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.rows[0].name, "file");
  EXPECT_EQ(block.rows[0].rank, 1);
  EXPECT_EQ(block.rows[1].rank, 2);
}

TEST(LeaderboardBlocks, ReferencesAloneMakeABlockWithoutABudget) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.budget_units, 0);
  EXPECT_THAT(block.rows, SizeIs(2));
  EXPECT_THAT(block.notes, IsEmpty());
}

TEST(LeaderboardBlocks, LinearAttentionHasBlocksOfItsOwnThatNameIt) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();  // windowed
  const auto add = [&](const char* label, std::vector<int> layers, LinearKind kind, double nll,
                       std::int64_t budget, const char* config) {
    board.add({.label = label,
               .group = {},
               .layers = std::move(layers),
               .nll = std::vector<double>(4, nll),
               .linear = kind,
               .budget = budget,
               .config_json = config});
  };
  add("none", {}, LinearKind::kGla, 3, 0, "");
  add("nll_ablate", {1}, LinearKind::kGla, 1, 1, "");
  add("nll_ablate", {1}, LinearKind::kLightning, 2, 1, "");
  // Keeps everything: its plan names no mixer, so its configuration does.
  add("loza", {0, 1, 2, 3, 4, 5, 6, 7}, LinearKind::kGla, 0.1, 8,
      R"({"mixer":{"kind":"linear_attention","linear":"gla","window":128}})");
  const LeaderboardTable table = board.table();
  std::vector<std::string> blocks;
  for (const LeaderboardBlock& block : table.blocks) {
    std::string rows;
    for (const LeaderboardRow& row : block.rows) rows += " " + row.name;
    blocks.push_back(fmt::format("{} {}, {}:{}",
                                 mixer_text(block.window, block.sinks, block.linear),
                                 block.budget_units, block.beyond_window, rows));
  }
  EXPECT_THAT(blocks, UnorderedElementsAre("gla linear attention 1, 0: nll_ablate full none",
                                           "gla linear attention 8, 0: loza full none",
                                           "lightning linear attention 1, 0: nll_ablate full",
                                           "window 16 · sinks 2 0, 4: full none"));
  const std::string text = render(table, {});
  EXPECT_THAT(text, HasSubstr("\ngla linear attention · decode rule same · budget 1 of 8 layers"));
  EXPECT_THAT(text, HasSubstr("· windowed or linear, a digit"));
  EXPECT_THAT(render(table, {.format = ReportFormat::kCsv}),
              HasSubstr(",0,0,0,gla,same,layer,1,8"));
}

// Of a run by strategy=file on weights that were trained under `label`.
Entry trained(const std::string& label, const std::string& group, std::vector<int> layers,
              double nll, int steps = 8, bool for_this_plan = true) {
  const std::string training = fmt::format(
      R"({{"parent":"{}","steps":{},"batch":4,"text":"0123456789","seed":0,"weights":{{"rate":0.25}},)"
      R"("label":"{}","group":"{}","supervision":"text"}})",
      model_row().id, steps, label, group);
  return {.label = "file[strata.json]",
          .group = {},
          .layers = std::move(layers),
          .nll = std::vector<double>(4, nll),
          .budget = 0,
          .with_selection = true,
          .diagnostics_json = for_this_plan ? "{\"trained\":" + training + "}" : std::string(),
          .model = fmt::format("{} after {}", label, steps)};
}

TEST(LeaderboardBlocks, EquallyTrainedModelsShareABlockAndAreComparedWithTheTrainedTeacher) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();  // of the parent
  board.add({.label = "consa", .group = {}, .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add(trained("full", "full", {0, 1, 2, 3, 4, 5, 6, 7}, 0.25));
  board.add(trained("none", "none", {}, 1.25));
  board.add(trained("random[0]", "random", {2}, 1.0));
  board.add(trained("random[1]", "random", {3}, 0.75));
  board.add(trained("consa[lm,trained]", "consa[lm,trained]", {1}, 0.5));
  board.add(trained("consa[lm,trained]", "consa[lm,trained]", {1}, 0.4, 16));  // trained for longer
  board.add(trained("other plan", "", {4}, 0.6, 8, false));
  const LeaderboardTable table = board.table();
  std::vector<std::string> titles;
  for (const LeaderboardBlock& block : table.blocks) titles.push_back(block.model_name);
  EXPECT_THAT(
      titles,
      UnorderedElementsAre(
          "toy", "trained from toy: 8 steps of 4 prompts of text 01234567 at rate 0.25, seed 0",
          "trained from toy: 16 steps of 4 prompts of text 01234567 at rate 0.25, seed 0",
          "other plan after 8"));
  for (const LeaderboardBlock& block : table.blocks) {
    if (!block.model_name.starts_with("trained from toy: 8")) {
      EXPECT_LE(block.rows.size(), 3U) << block.model_name;  // no row of another training
      continue;
    }
    EXPECT_EQ(block.model_id, model_row().id);
    std::vector<std::string> names;
    for (const LeaderboardRow& row : block.rows) names.push_back(row.name);
    EXPECT_THAT(names, ElementsAre("consa[lm,trained]", "random (2 draws)", "full", "none"));
    EXPECT_NEAR(block.rows[0].gap_closed->value, 0.75, kTolerance);
    EXPECT_NEAR(block.rows[0].nll_minus_full->value, 0.25, kTolerance);
    EXPECT_EQ(block.rows[0].beats_random, 2U);
    EXPECT_EQ(block.rows[0].supervision, "text");
  }
}

}  // namespace
}  // namespace strata::test
