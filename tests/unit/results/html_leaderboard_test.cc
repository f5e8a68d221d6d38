// The leaderboard's page: plans as pictures, charts as numbers, and the samples that it shows.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "leaderboard_fixture.h"
#include "results/reports/html_charts.h"
#include "results/reports/html_leaderboard.h"
#include "results/reports/html_mask.h"
#include "results/reports/html_samples.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::size_t count_of(const std::string& text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

LeaderboardData data_of(const Store& store) { return must(load_leaderboard_data(store, {})); }

TEST(HtmlMask, NamesRunsOfLayers) {
  EXPECT_EQ(mask_words(plan_keeping({0, 2, 3, 4, 7})),
            "full attention in 5 of 8 layers: 0, 2–4, 7");
  EXPECT_EQ(mask_words(plan_keeping({})), "full attention in none of 8 layers");
  EXPECT_EQ(mask_words(AttentionPlan::full(kLayout)), "full attention in all 8 layers");
}

TEST(HtmlMask, DrawsARectangleALayerOrRunOfHeads) {
  const std::string layers = mask_svg(plan_keeping({1, 3}));
  EXPECT_THAT(layers, HasSubstr("viewBox=\"0 0 80 10\""));
  EXPECT_THAT(layers, HasSubstr("d=\"M11 0h8v10h-8zM31 0h8v10h-8z\""));

  const Mask mask =
      Mask(Granularity::kQueryHead, {2, 4, 2}, false).with(4 + 1, true).with(4 + 2, true);
  const AttentionPlan heads = must(AttentionPlan::from_mask(
      mask, FullAttention{}, plan_keeping({}).palette()[0].mixer, DecodeRule::kSame));
  EXPECT_THAT(mask_svg(heads), HasSubstr("viewBox=\"0 0 20 40\""));
  EXPECT_THAT(mask_svg(heads), HasSubstr("d=\"M11 10h8v20h-8z\""));
  EXPECT_EQ(mask_words(heads), "full attention in 2 of 8 query heads, of layers: 1");
}

TEST(HtmlCharts, ParetoHasEachRowOnceWithItsCostAndInterval) {
  const TemporaryFolder folder;
  ChartSet charts;
  const std::string html = pareto_figures(Small(folder).table(), charts);
  ASSERT_EQ(charts.all().size(), 1U);
  const nlohmann::json& points = charts.all()[0]["points"];
  EXPECT_EQ(points.size(), 7U);
  EXPECT_EQ(points[0]["name"], "nll_guided[restore]");
  EXPECT_EQ(points[0]["kind"], "ranked");
  EXPECT_EQ(points[0]["kv"], 1750.0);
  EXPECT_DOUBLE_EQ(points[0]["nll"].get<double>(), 0.5);
  EXPECT_LT(points[0]["nll_low"].get<double>(), 0.5);
  EXPECT_DOUBLE_EQ(points[0]["accuracy"].get<double>(), 75.0);
  EXPECT_THAT(html, HasSubstr("aria-label=\"Quality against cost of toy"));
  EXPECT_THAT(html, HasSubstr("<option value=\"accuracy\">"));
}

TEST(HtmlCharts, ParetoKeepsTrainedWeightsApartFromWhatTheyWereTrainedFrom) {
  const TemporaryFolder folder;
  LeaderboardTable table = Small(folder).table();
  table.blocks.push_back(table.blocks[0]);
  ChartSet together;
  static_cast<void>(pareto_figures(table, together));
  EXPECT_EQ(together.all().size(), 1U);
  table.blocks[1].model_name = "trained from toy";
  ChartSet apart;
  static_cast<void>(pareto_figures(table, apart));
  EXPECT_EQ(apart.all().size(), 2U);
}

TEST(HtmlCharts, ScoresAreOneFigureASelectionWithTheirNumbers) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .with_selection = true});
  ChartSet charts;
  const std::string html = score_figures(data_of(board.store()), charts);
  ASSERT_EQ(charts.all().size(), 1U);
  EXPECT_EQ(charts.all()[0]["type"], "scores");
  EXPECT_THAT(html, HasSubstr("<caption>scores of a · "));
}

TEST(HtmlCharts, NothingToDrawIsNothing) {
  const TemporaryFolder folder;
  Small small(folder);
  ChartSet charts;
  EXPECT_EQ(heat_figures(data_of(small.store()), charts), "");
  EXPECT_EQ(training_figures(data_of(small.store()), charts), "");
  EXPECT_TRUE(charts.all().empty());
}

TEST(HtmlSamples, ShowsThoseOnWhichPlansDisagreeSpreadEvenly) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 8);
  const std::vector<double> nll(8, 1.0);
  board.add({.label = "a", .layers = {1}, .nll = nll, .contains = {1, 1, 1, 1, 1, 1, 0, 0}});
  board.add({.label = "b", .layers = {2}, .nll = nll, .contains = {0, 0, 0, 0, 1, 1, 0, 0}});
  const std::string all = must(sample_browser(board.store(), data_of(board.store())));
  EXPECT_EQ(count_of(all, "<article"), 4U);
  EXPECT_EQ(count_of(all, "data-verdicts=\"10\""), 4U);
  EXPECT_THAT(all, HasSubstr("4 of 4 samples on which plans disagree, of 8 in all."));

  const std::string some =
      must(sample_browser(board.store(), data_of(board.store()), {.samples = 2}));
  EXPECT_EQ(count_of(some, "<article"), 2U);
  EXPECT_THAT(some, HasSubstr("<h4>sample 1 "));
  EXPECT_THAT(some, HasSubstr("<h4>sample 3 "));
  EXPECT_THAT(some, HasSubstr("2 of 4 samples"));
}

// Two plans that answered one sample, the first of them rightly; judges speak of that response.
struct Judged {
  Judged() : board(folder.file("a.db"), 1) {
    board.add({.label = "a", .layers = {1}, .nll = {1}, .contains = {1}});
    board.add({.label = "b", .layers = {2}, .nll = {1}, .contains = {0}});
    data = data_of(board.store());
  }
  template <typename Change>
  void judge(int second, Change&& change) {
    JudgementRow judgement = judgement_row(
        must(board.store().responses_of(data.evaluations[0].experiment.id))[0], second);
    change(judgement);
    judgement.id = judgement_id(judgement);
    must(board.store().record(judgement));
  }
  std::string html() { return must(sample_browser(board.store(), data)); }

  TemporaryFolder folder;
  Board board;
  LeaderboardData data;
};

TEST(HtmlSamples, SaysWhatAJudgeSaidOfTheResponse) {
  Judged judged;
  judged.judge(1, [](JudgementRow& row) { row.judge_model = "<judge>"; });
  const std::string html = judged.html();
  EXPECT_THAT(html, HasSubstr("✓ right</span> · judge &lt;judge&gt;: yes</dd>"));
  EXPECT_THAT(html, HasSubstr("✗ wrong</span></dd>"));
}

TEST(HtmlSamples, AFailedCallHidesNoVerdictAndJudgesOfOneModelAreToldApart) {
  Judged judged;
  judged.judge(1, [](JudgementRow& row) { row.verdict = JudgedAs::kNo; });
  judged.judge(2, [](JudgementRow& row) { row.verdict = JudgedAs::kFailed; });
  EXPECT_THAT(judged.html(), HasSubstr(" · judge judge-1: no</dd>"));
  judged.judge(3, [](JudgementRow& row) {
    row.rubric = "needle";
    row.reply = "Rating: [[7]]";
    row.verdict = JudgedAs::kUnparsable;
  });
  EXPECT_THAT(judged.html(),
              HasSubstr(" · judge judge-1 at 127.0.0.1:8001 (longmemeval prompts, max_tokens=10 "
                        "temperature=0.0): no · judge judge-1 at 127.0.0.1:8001 (needle prompts, "
                        "max_tokens=10 temperature=0.0): 7 of 10</dd>"));
}

TEST(HtmlSamples, CutsLongTextsAtCharacters) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 1);
  board.add({.label = "a", .layers = {1}, .nll = {1}, .contains = {1}});
  board.add({.label = "b", .layers = {2}, .nll = {1}, .contains = {0}});
  LeaderboardData data = data_of(board.store());
  data.data.begin()->second.samples[0].prompt_text = "äöü<" + std::string(100, 'x') + "ßé";
  const std::string html =
      must(sample_browser(board.store(), data, {.prompt_begin = 4, .prompt_end = 2}));
  EXPECT_THAT(html, HasSubstr(">äöü&lt;\n… 100 characters left out …\nßé</pre>"));
}

TEST(HtmlSamples, LeavesOutThePlansBeyondTheLimitAndSaysSo) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 1);
  for (int layer = 0; layer < 4; ++layer)
    board.add({.label = fmt::format("plan{}", layer),
               .layers = {layer},
               .nll = {1},
               .contains = {layer % 2 == 0 ? 1.0 : 0.0}});
  const std::string html =
      must(sample_browser(board.store(), data_of(board.store()), {.plans = 3}));
  EXPECT_THAT(html, HasSubstr("Not shown: 1 further plan."));
  EXPECT_THAT(html, Not(HasSubstr("plan3")));
}

TEST(HtmlLeaderboard, HasTheTablesWithPicturesAndOneFigurePerChart) {
  const TemporaryFolder folder;
  Small small(folder);
  const std::string html = must(html_leaderboard(small.store(), {}));
  EXPECT_THAT(html, HasSubstr("<section class=\"block\" id=\"table-1\">"));
  // Five rows of one plan in the table; below it every plan: those five, three draws, two offsets.
  EXPECT_EQ(count_of(html, "<svg class=\"mask"), 5U + 10U);
  EXPECT_THAT(html, HasSubstr("random (3 draws) · 2 of 3"));
  EXPECT_EQ(count_of(html, "<figure data-chart="), 2U);        // cost, and a selection's scores
  EXPECT_EQ(html, must(html_leaderboard(small.store(), {})));  // nothing of the day or the machine
}

TEST(HtmlLeaderboard, NamesTheDatabaseWhereNothingMatches) {
  const TemporaryFolder folder;
  Small small(folder);
  const auto nothing = html_leaderboard(small.store(), {.benchmark = "other"});
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().text(), HasSubstr(small.store().path()));
}

}  // namespace
}  // namespace strata::test
