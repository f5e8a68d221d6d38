// Heat maps of made-up answers, worked out by hand.
#include "results/reports/heat_map.h"

#include "leaderboard_fixture.h"

namespace strata::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// Two lengths at two depths; the last cell twice.
const std::vector<std::string> kCells = {
    R"({"cell":{"length":1000,"depth":0}})", R"({"cell":{"length":1000,"depth":100}})",
    R"({"cell":{"length":2000,"depth":0}})", R"({"cell":{"length":2000,"depth":100.0}})",
    R"({"cell":{"length":2000,"depth":100}})"};

struct Grid {
  explicit Grid(const std::vector<std::string>& metadata = kCells) : board(folder.file("g.db"), 4) {
    board.use_samples(100, 5, {}, metadata);
  }
  void add(const std::string& label, std::vector<double> contains, std::vector<double> nll) {
    board.add({.label = label,
               .group = {},
               .layers = {label == "full" ? 2 : 1},
               .nll = std::move(nll),
               .contains = std::move(contains),
               .benchmark = "niah_grid"});
  }
  Result<std::vector<HeatMap>> maps() const { return heat_maps(board.store(), {}); }

  TemporaryFolder folder;
  Board board;
};

TEST(HeatMap, CellsAreMeansByLengthAndDepth) {
  Grid grid;
  grid.add("full", {1, 1, 1, 1, 0}, {0.1, 0.2, 0.3, 0.4, 0.8});
  grid.add("window", {1, 0, 0, 0, 0}, {1, 2, 3, 4, 5});
  const std::vector<HeatMap> maps = must(grid.maps());
  ASSERT_THAT(maps, SizeIs(2));
  EXPECT_TRUE(maps[0].name.starts_with("full")) << maps[0].name;
  ASSERT_THAT(maps[0].cells, SizeIs(4));
  const HeatCell& first = maps[0].cells[0];
  EXPECT_EQ(first.length, 1000);
  EXPECT_EQ(first.depth, 0);
  EXPECT_EQ(first.samples, 1U);
  EXPECT_EQ(first.gen_contains, 1);
  const HeatCell& last = maps[0].cells[3];
  EXPECT_EQ(last.length, 2000);
  EXPECT_EQ(last.depth, 100);
  EXPECT_EQ(last.samples, 2U);
  EXPECT_EQ(last.gen_contains, 0.5);
  EXPECT_NEAR(*last.answer_nll, 0.6, 1e-12);
  EXPECT_EQ(maps[1].cells[1].gen_contains, 0);
}

TEST(HeatMap, PagesHaveDepthsDownAndLengthsAcross) {
  Grid grid;
  grid.add("full", {1, 1, 1, 1, 0}, {0.1, 0.2, 0.3, 0.4, 0.8});
  const std::vector<HeatMap> maps = must(grid.maps());
  const std::string page =
      render(heat_map_page(maps, ReportFormat::kMarkdown), {.format = ReportFormat::kMarkdown});
  EXPECT_THAT(page, AllOf(HasSubstr("1000"), HasSubstr("2000"), HasSubstr("gen_contains %")));
  EXPECT_LT(page.find("| 0 |"), page.find("| 100 |")) << page;
  const std::string csv =
      render(heat_map_page(maps, ReportFormat::kCsv), {.format = ReportFormat::kCsv});
  EXPECT_THAT(csv, HasSubstr(",2000,100,2,0.5,0.6,,"));
}

TEST(HeatMap, PagesSayHowManySamplesACellIsOf) {
  Grid grid;
  grid.add("full", {1, 1, 1, 1, 0}, {0.1, 0.2, 0.3, 0.4, 0.8});
  std::vector<HeatMap> maps = must(grid.maps());
  const auto page = [&] { return render(heat_map_page(maps, ReportFormat::kText), {}); };
  EXPECT_THAT(page(), AllOf(HasSubstr(" · n below · "),
                            HasSubstr("depth %  1000  2000\n-------------------\n"
                                      "      0     1     1\n    100     1     2\n")));
  maps[0].cells[3].samples = 1;
  EXPECT_THAT(page(), AllOf(HasSubstr(" · n = 1 a cell · "), Not(HasSubstr("samples by depth"))));
}

TEST(HeatMap, RunsWhoseSamplesNameNoCellAreNoMaps) {
  for (const char* odd : {R"({})", R"([])", R"({"cell":{"length":"x","depth":0}})",
                          R"({"cell":{"length":10}})", R"({"cell":7})"}) {
    Grid grid(std::vector<std::string>(5, odd));
    grid.add("full", {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1});
    const auto maps = grid.maps();
    ASSERT_FALSE(maps) << odd;
    EXPECT_THAT(maps.error().text(), HasSubstr("a length and a depth, got none"));
  }
}

TEST(HeatMap, ScoresOfJudgesAreMeansOfTheLastThatCame) {
  Grid grid;
  grid.add("full", {1, 1, 1, 1, 1}, {1, 1, 1, 1, 1});
  const std::string experiment = *must(grid.board.store().runs()).at(0).experiment_id;
  const std::vector<ResponseRow> responses = must(grid.board.store().responses_of(experiment));
  ASSERT_THAT(responses, SizeIs(5));
  const std::string& execution = responses[0].execution_id;
  int second = 0;
  const auto judge = [&](int i, const std::string& model, const std::string& reply,
                         JudgedAs verdict = JudgedAs::kYes) {
    JudgementRow row{.experiment_id = experiment,
                     .sample_id = sample_row(100 + i).id,
                     .execution_id = execution,
                     .judge_model = model,
                     .endpoint = "localhost:1",
                     .settings_json = "{}",
                     .rubric = "needle",
                     .rubric_hash = "r",
                     .prompt_hash = "p",
                     .reply = reply,
                     .verdict = verdict,
                     .attempts = 1,
                     .judged = fmt::format("2026-01-01T00:00:{:02}.000000Z", second++)};
    if (verdict == JudgedAs::kFailed) row.error = "no answer";
    must(grid.board.store().record(std::move(row)));
  };
  judge(0, "a", "[[5]]");
  judge(0, "a", "Rating: [[7]]");
  judge(0, "a", "", JudgedAs::kFailed);
  judge(3, "a", "[[10]]");
  judge(4, "a", "[[1]]");
  judge(1, "a", "good", JudgedAs::kUnparsable);
  judge(0, "b", "[[3]]");
  const std::vector<HeatMap> maps = must(grid.maps());
  const std::string a = "a at localhost:1 {}", b = "b at localhost:1 {}";
  EXPECT_EQ(maps.at(0).cells.at(0).judged, (std::map<std::string, double>{{a, 7}, {b, 3}}));
  EXPECT_EQ(maps.at(0).cells.at(1).judged, (std::map<std::string, double>{}));
  EXPECT_EQ(maps.at(0).cells.at(3).judged.at(a), 5.5);
  EXPECT_EQ(maps.at(0).unscored, (std::map<std::string, std::size_t>{{a, 1}}));
  const std::string page = render(heat_map_page(maps, ReportFormat::kText), {});
  EXPECT_THAT(page, AllOf(HasSubstr("score of 10 by " + a), HasSubstr("1 response without a score"),
                          HasSubstr("5.5")));
  EXPECT_THAT(render(heat_map_page(maps, ReportFormat::kCsv), {.format = ReportFormat::kCsv}),
              HasSubstr(",1000,0,1,1,1,b at localhost:1 {},3"));
}

TEST(HeatMap, AnswersThatWereOnlyTeacherForcedHaveNoVerdict) {
  Grid grid;
  grid.board.add({.label = "full",
                  .group = {},
                  .layers = {1},
                  .nll = {1, 1, 1, 1, 1},
                  .generated = false,
                  .benchmark = "niah_grid"});
  const std::vector<HeatMap> maps = must(grid.maps());
  EXPECT_EQ(maps.at(0).cells.at(0).gen_contains, std::nullopt);
  EXPECT_EQ(maps.at(0).cells.at(0).answer_nll, 1);
  EXPECT_THAT(render(heat_map_page(maps, ReportFormat::kText), {}), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace strata::test
