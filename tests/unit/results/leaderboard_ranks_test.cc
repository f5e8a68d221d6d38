// Ranks with ties, rows that are not ranked, filters and groups, and the harm to running text.
#include "leaderboard_fixture.h"
#include "results/reports/leaderboard.h"
#include "results/reports/page.h"

namespace strata::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int kSamples = 24;
constexpr double kTolerance = 1e-9;

// Around a level, up and down by `spread` in turn.
std::vector<double> around(double level, double spread, int shift = 0) {
  std::vector<double> out;
  out.reserve(kSamples);
  for (int i = 0; i < kSamples; ++i)
    out.push_back(level + ((i + shift) % 2 == 0 ? spread : -spread));
  return out;
}

Entry chosen(const std::string& label, int layer, std::vector<double> nll) {
  return {.label = label, .layers = {layer}, .nll = std::move(nll), .contains = {}, .exact = {}};
}

void add_references(Board& board) {
  const std::vector<double> right(kSamples, 1.0), wrong(kSamples, 0.0);
  board.add_references(right, wrong);
}

TEST(LeaderboardRanks, RowsThatDoNotDifferSignificantlyShareARank) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), kSamples);
  add_references(board);
  board.add(chosen("good", 1, around(0.5, 0.2)));
  board.add(chosen("as good", 2, around(0.51, 0.2, 1)));  // the other way round: no evidence
  board.add(chosen("bad", 3, around(1.5, 0.2)));
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.rank_tests, 3U);
  std::vector<std::pair<int, int>> ranks;
  for (std::size_t i = 0; i < 3; ++i)
    ranks.emplace_back(*block.rows[i].rank, *block.rows[i].rank_last);
  EXPECT_THAT(ranks, ElementsAre(std::pair(1, 2), std::pair(1, 2), std::pair(3, 3)));
  EXPECT_THAT(render({{block}, {}}, {}), HasSubstr("1–2  good"));
}

TEST(LeaderboardRanks, BelowTwentyClustersTheRankIsThePlaceAndNoTestSpeaks) {
  const TemporaryFolder folder;
  const LeaderboardBlock block = Small(folder).only_block();
  EXPECT_EQ(block.rank_tests, 0U);
  EXPECT_EQ(block.rows[0].rank, 1);
  EXPECT_FALSE(block.rows[0].rank_last);
}

TEST(LeaderboardRanks, RowsOfAnotherCostAreNotRankedAmongTheOthers) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.add({.label = "b", .layers = {2}, .nll = {1.2, 1.2, 1.2, 1.2}});
  board.add({.label = "greedy", .layers = {3}, .nll = {0.2, 0.2, 0.2, 0.2}, .kv_bytes = 2000});
  const LeaderboardBlock block = board.only_block();
  EXPECT_EQ(block.rows[0].name, "a");
  EXPECT_EQ(block.rows[0].rank, 1);
  EXPECT_EQ(block.rows[2].name, "greedy");
  EXPECT_EQ(block.rows[2].kind, RowKind::kUnmatched);
  EXPECT_FALSE(block.rows[2].rank);
}

// Samples 0 and 1 are one cluster: 0/1 answers are no longer independent.
TEST(LeaderboardRanks, AnswersInClustersGetABootstrapInterval) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4, {"x", "x", "y", "z"});
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 2, 2}, .contains = {1, 1, 0, 1}});
  const LeaderboardRow row = board.only_block().rows[0];
  const std::vector<std::size_t> clusters = {0, 0, 1, 2};
  const BootstrapOptions options{.clusters = clusters};
  EXPECT_EQ(row.gen_contains->interval,
            cluster_bootstrap(std::vector<double>{1, 1, 0, 1}, options).interval);
  EXPECT_EQ(row.answer_nll->interval,
            cluster_bootstrap(std::vector<double>{1, 1, 2, 2}, options).interval);
}

TEST(LeaderboardRanks, AnyStoredKeyFiltersAndReferencesStay) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  Entry few = {.label = "few", .layers = {1}, .nll = {1, 1, 1, 1}};
  few.config_json = R"({"calibration": {"samples": 4}})";
  Entry many = {.label = "many", .layers = {2}, .nll = {1, 1, 1, 1}};
  many.config_json = R"({"calibration": {"samples": 64}})";
  board.add(few);
  board.add(many);
  LeaderboardRequest request;
  request.where = {{"calibration.samples", "64"}};
  const LeaderboardTable filtered = must(leaderboard(board.store(), request));
  ASSERT_THAT(filtered.blocks, SizeIs(1));
  EXPECT_EQ(filtered.blocks[0].rows[0].name, "many");
  EXPECT_THAT(filtered.blocks[0].rows, SizeIs(3));

  Entry draw = {.label = "random[0]", .group = "random", .layers = {3}, .nll = {1, 1, 1, 1}};
  draw.config_json = few.config_json;  // which no draw looks at
  board.add(draw);
  const auto with_draw = must(leaderboard(board.store(), request)).blocks.at(0).rows;
  ASSERT_THAT(with_draw, SizeIs(4));
  EXPECT_EQ(with_draw[1].name, "random[0]");

  request.where = {{"calibration.samples", "64.0"}};
  EXPECT_THAT(must(leaderboard(board.store(), request)).blocks.at(0).rows, SizeIs(4));
  request.where = {{"window", fmt::format("{}", kWindow + 1)}};
  const Result<LeaderboardTable> nothing = leaderboard(board.store(), request);
  ASSERT_FALSE(nothing) << "none is of another window too";
  EXPECT_THAT(nothing.error().text(), HasSubstr(fmt::format("no run matches --where window={}: "
                                                            "window is {}",
                                                            kWindow + 1, kWindow)));

  request.where = {};
  request.by = {"calibration.samples"};
  const LeaderboardTable grouped = must(leaderboard(board.store(), request));
  ASSERT_THAT(grouped.blocks, SizeIs(2));
  EXPECT_EQ(grouped.blocks[0].by, "calibration.samples=4");
  EXPECT_EQ(grouped.blocks[0].rows[0].name, "few");
  EXPECT_THAT(grouped.blocks[0].rows, SizeIs(4));  // with the draw
  EXPECT_THAT(grouped.blocks[1].rows, SizeIs(3));  // with full and none

  request.by = {"calibration.sample"};
  const Result<LeaderboardTable> wrong = leaderboard(board.store(), request);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().text(), HasSubstr("no run has a key 'calibration.sample'"));
  EXPECT_THAT(wrong.error().text(), HasSubstr("calibration.samples"));
  EXPECT_FALSE(parse_key_filter("calibration.samples"));
}

TEST(LeaderboardRanks, HarmIsOfTheSamePlanOnRunningText) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.use_samples(4, 3);
  board.add_text(
      {.label = "full", .layers = {0, 1, 2, 3, 4, 5, 6, 7}, .nll = {3.0, 3.5, 4.0}, .budget = 0});
  board.add_text({.label = "a", .layers = {1}, .nll = {3.1, 3.7, 4.3}});
  board.add_text({.label = "b", .layers = {2}, .nll = {9, 9, 9}});
  LeaderboardRequest request;
  request.benchmark = "niah";
  const LeaderboardTable table = must(leaderboard(board.store(), request));
  ASSERT_THAT(table.blocks, SizeIs(1));
  const LeaderboardRow& row = table.blocks[0].rows[0];
  ASSERT_TRUE(row.text_nll_minus_full);
  // Differences .1, .2 and .3: mean .2, standard error .057735, t(2) = 4.302653.
  EXPECT_NEAR(row.text_nll_minus_full->value, 0.2, kTolerance);
  EXPECT_NEAR(row.text_nll_minus_full->interval->low, 0.2 - 0.2484138, 1e-6);
}

TEST(LeaderboardRanks, LatexIsATabularWithEverySignSpeltOut) {
  const TemporaryFolder folder;
  const std::string text = render(Small(folder).table(), {.format = ReportFormat::kLatex});
  EXPECT_THAT(text, HasSubstr("\\begin{tabular}{rllrrr"));
  EXPECT_THAT(text, HasSubstr("gap closed \\% & gen\\_contains \\% & NLL & "));
  EXPECT_THAT(text, HasSubstr("& $\\Delta$NLL to periodic-best & tf\\_exact"));
  EXPECT_THAT(text, HasSubstr("\\bottomrule\n\\end{tabular}"));
  for (const char c : text) EXPECT_LT(static_cast<unsigned char>(c), 0x80) << text;
}

}  // namespace
}  // namespace strata::test
