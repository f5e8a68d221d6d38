// The query behind a number gives the number.
#include "leaderboard_fixture.h"
#include "memory_fixture.h"
#include "results/reports/ablation.h"
#include "results/reports/compare.h"
#include "results/reports/effective_length.h"
#include "results/reports/heat_map.h"
#include "results/reports/leaderboard.h"
#include "results/reports/memory_report.h"
#include "results/reports/page.h"
#include "results/reports/paper_compare.h"
#include "results/sqlite.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// All values of a query, of its first column.
std::vector<double> answer(const std::string& path, const std::string& sql) {
  const auto connection = must(Connection::open(path, Connection::Open::kReadOnly));
  std::vector<double> out;
  for (const SqlRow& row : must(connection->query(sql)))
    out.push_back(std::holds_alternative<double>(row[0])
                      ? std::get<double>(row[0])
                      : static_cast<double>(std::get<std::int64_t>(row[0])));
  return out;
}

void expect_queries_give_their_numbers(Store& store) {
  const LeaderboardTable table = must(leaderboard(store, {}));
  std::size_t traced = 0;
  for (const LeaderboardBlock& block : table.blocks)
    for (const TracedNumber& number : traced_numbers(block)) {
      const std::vector<double> found = answer(store.path(), number.sql);
      ASSERT_THAT(found, SizeIs(number.number.starts_with("median") ? number.sources.size() : 1));
      EXPECT_NEAR(quantile(found, 0.5), number.value, 1e-9 * std::abs(number.value) + 1e-9)
          << number.strategy << " " << number.number << "\n"
          << number.sql;
      ++traced;
    }
  EXPECT_GT(traced, 15U);
}

TEST(Trace, EveryQueryGivesTheNumberItIsPrintedFor) {
  const TemporaryFolder folder;
  Small small(folder);
  expect_queries_give_their_numbers(small.store());
}

TEST(Trace, SamplesThatSeveralExecutionsAnsweredCountOnce) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 2}});
  // The fourth sample was answered on another machine, where the first came out otherwise.
  const RunRow run = must(board.store().runs())[2];
  ExecutionRow elsewhere = execution_row(run.id);
  elsewhere.device = "cuda";
  elsewhere.id.clear();
  const std::string execution = must(board.store().record(elsewhere));
  for (const auto& [sample, nll] : {std::pair(0, 9.0), std::pair(3, 5.0)})
    must(board.store().record(
        response_row(*run.experiment_id, sample_row(sample).id, execution, nll)));
  EXPECT_NEAR(board.only_block().rows[0].answer_nll->value, (1 + 1 + 2 + 5) / 4.0, 1e-9);
  expect_queries_give_their_numbers(board.store());
}

TEST(Trace, EveryRunOfAnAblationHasItsQuery) {
  const TemporaryFolder folder;
  Small small(folder);
  const Ablation swept = must(ablation(small.store(), {}));
  const ReportPage page = ablation_trace(swept);
  const auto& rows = page.sections.at(0).table.rows;
  ASSERT_THAT(rows, SizeIs(swept.runs.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::vector<double> found = answer(small.store().path(), rows[i].back().text);
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_NEAR(found[0], swept.runs[i].nll, 1e-9);
  }
}

// Column `value` of every row is what the query in its last column gives.
void expect_queries_give(const std::string& path, const PageSection& section, std::size_t value) {
  for (const TextTable::Row& row : section.table.rows) {
    const std::vector<double> found = answer(path, row.back().text);
    ASSERT_THAT(found, SizeIs(1)) << row.back().text;
    EXPECT_NEAR(found[0], std::stod(row[value].text), 1e-9) << row.back().text;
  }
}

// Two seeds that chose other layers answered the task at 4,096 tokens.
TEST(Trace, EveryTaskOfLengthsHasItsQuery) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  const auto add = [&](int length, int layer, std::vector<double> right) {
    board.use_samples(length / 1024, 4);
    board.add({.label = "a",
               .group = {},
               .layers = {layer},
               .nll = {1, 1, 1, 1},
               .contains = std::move(right),
               .benchmark_json = fmt::format(R"({{"task":"vt","length":{}}})", length),
               .benchmark = "ruler"});
  };
  add(4096, 1, {1, 0, 1, 0.2});
  add(4096, 2, {1, 0, 0, 0.6});
  add(8192, 1, {0.4, 0, 0, 0});
  const ReportPage page = effective_length_trace(must(effective_lengths(board.store(), {})));
  const PageSection& section = page.sections.at(0);
  ASSERT_THAT(section.table.rows, SizeIs(2));
  EXPECT_EQ(section.table.rows[0][5].text, "0.475");
  expect_queries_give(board.store().path(), section, 5);
}

TEST(Trace, EveryShareOfTheMemoryReportHasItsQuery) {
  const TemporaryFolder folder;
  Store store = must(Store::open(folder.file("a.db"), Store::Mode::kReadWrite));
  std::vector<MemoryAnswer> answers = six_answers();
  answers[0].contains = 0;
  answers[1].contains.reset();  // no verdict
  answers[5].contains = 0;
  answers.push_back(answers[0]);
  answers.back().id = "another";
  answers.back().contains = 1;
  (void)record_memory_run(store, "full", answers);
  const ReportPage page = memory_trace(must(memory_report(store, {})));
  const PageSection& section = page.sections.at(0);
  ASSERT_THAT(section.table.rows, SizeIs(5 + 3));
  expect_queries_give(store.path(), section, 4);
}

// Of the first question a call failed after a verdict, of the second the later verdict counts, and
// the third was read as official alone; another judge and other prompts do not mix in.
TEST(Trace, EveryShareOfAJudgeHasItsQuery) {
  const TemporaryFolder folder;
  Store store = must(Store::open(folder.file("a.db"), Store::Mode::kReadWrite));
  const std::vector<ResponseRow> responses =
      must(store.responses_of(record_memory_run(store, "full", six_answers())));
  int calls = 0;
  const auto judge = [&](std::size_t response, JudgedAs verdict, std::optional<bool> official,
                         const std::string& model, const std::string& rubric) {
    JudgementRow row = judgement_row(responses.at(response), ++calls);
    row.id.clear();
    row.judge_model = model;
    row.rubric = rubric;
    row.verdict = verdict;
    row.official = official;
    must(store.record(row));
  };
  const std::string quoted = "o'judge", rubric = "longmemeval/answer";
  judge(0, JudgedAs::kYes, true, quoted, rubric);
  judge(0, JudgedAs::kFailed, {}, quoted, rubric);
  judge(1, JudgedAs::kNo, false, quoted, rubric);
  judge(1, JudgedAs::kYes, true, quoted, rubric);
  judge(2, JudgedAs::kUnparsable, false, quoted, rubric);
  judge(3, JudgedAs::kFailed, {}, quoted, rubric);
  for (std::size_t i = 0; i < responses.size(); ++i) {
    judge(i, JudgedAs::kNo, false, "another", rubric);
    judge(i, JudgedAs::kNo, false, quoted, "swaa");
  }
  const ReportPage page = memory_trace(must(memory_report(store, {})));
  const PageSection& section = page.sections.at(0);
  const auto of = [&](const std::string& by, const std::string& questions) {
    for (const TextTable::Row& row : section.table.rows)
      if (row[1].text == questions && row[2].text.starts_with(by) &&
          row[2].text.find("longmemeval prompts") != std::string::npos)
        return row[3].text + ": " + row[4].text;
    return std::string("no row");
  };
  EXPECT_EQ(of("o'judge", "overall"), "3: 0.6666666666666666");
  EXPECT_EQ(of("strictly, o'judge", "overall"), "2: 1");
  expect_queries_give(store.path(), section, 4);
}

TEST(Trace, EveryNumberBesideAPaperHasItsQuery) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  const auto add = [&](const char* label, int layer, std::vector<double> right) {
    board.add({.label = label,
               .group = {},
               .layers = {layer},
               .nll = {1, 1, 1, 1},
               .contains = std::move(right),
               .benchmark_json = R"({"task":"single","length":512})"});
  };
  add("nll_restore", 1, {1, 0, 1, 1});
  add("flashmorph", 2, {0, 0, 1, 0});
  PaperSetting setting;
  setting.benchmark = "niah";
  setting.task = "single";
  setting.metric = "string_match";  // which these runs lack
  setting.unit = "percent";
  setting.fraction = 0.25;
  const auto row = [](const char* name, double published) {
    return PaperRow{name, name, {}, {{{published}, ""}}, {}};
  };
  const Paper paper{"A paper",
                    "0000.00000",
                    "full_text",
                    {},
                    {{"t",
                      "Table 1",
                      "full_text",
                      setting,
                      {{"c", {}}},
                      {row("nll_restore", 60), row("flashmorph", 40)},
                      {}}}};
  const ReportPage page = paper_trace(paper, must(compare_paper(paper, &board.store(), {})));
  const PageSection& section = page.sections.at(0);
  ASSERT_THAT(section.table.rows, SizeIs(3));
  EXPECT_EQ(section.table.rows[2][4].text, "0.5");
  expect_queries_give(board.store().path(), section, 4);
}

TEST(Trace, EveryCellOfAHeatMapHasItsQuery) {
  const TemporaryFolder folder;
  Store store = must(Store::open(folder.file("a.db"), Store::Mode::kReadWrite));
  (void)record_needle_run(store, "full");
  const ReportPage page = heat_map_trace(must(heat_maps(store, {})));
  const PageSection& section = page.sections.at(0);
  ASSERT_THAT(section.table.rows, SizeIs(3 * 2));
  expect_queries_give(store.path(), section, 4);
}

TEST(Trace, EveryCalibrationSetOfAClaimHasItsQuery) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const auto add = [&](const char* label, const char* set, int layer, std::vector<double> nll) {
    board.add({.label = label,
               .layers = {layer},
               .nll = std::move(nll),
               .with_selection = true,
               .calibration = set});
  };
  add("nll_ablate", "one", 1, {1, 0.5, 1, 0.25});
  add("nll_ablate", "two", 2, {1, 1.5, 1, 0.5});
  add("other", "one", 0, {1, 1, 1, 1.75});
  add("other", "two", 3, {1, 2, 1, 1});
  const ReportPage page = claims_trace(board.table());
  const PageSection& section = page.sections.at(0);
  ASSERT_THAT(section.table.rows, SizeIs(4 + 2)) << render(page, {});
  EXPECT_EQ(section.table.rows[4][3].text, "nll_difference");
  expect_queries_give(board.store().path(), section, 4);
}

TEST(Trace, TheTextNamesTheRowsAndCsvHasALineANumber) {
  const TemporaryFolder folder;
  Small small(folder);
  const LeaderboardTable table = small.table();
  const std::string text = render_trace(table, {});
  EXPECT_THAT(text, HasSubstr("nll_guided[restore] · answer_nll = 0.5\n  runs: "));
  EXPECT_THAT(text, HasSubstr("SELECT avg((SELECT avg(value) FROM json_each(answer_nll_json)))"));
  EXPECT_THAT(text, HasSubstr("experiments: " + table.blocks[0].rows[0].sources[0].experiment_id));
  const std::string csv = render_trace(table, {.format = ReportFormat::kCsv});
  EXPECT_EQ(static_cast<std::size_t>(std::count(csv.begin(), csv.end(), '\n')),
            1 + traced_numbers(table.blocks[0]).size());
}

TEST(Trace, ComparisonsAreTracedToo) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1}});
  board.add({.label = "b", .layers = {2}, .nll = {1.5, 2, 1, 1.5}});
  const std::vector<RunRow> runs = must(board.store().runs());
  // Some of a's samples were answered again elsewhere, one of them only there.
  ExecutionRow elsewhere = execution_row(runs[0].id);
  elsewhere.device = "cuda";
  elsewhere.id.clear();
  const std::string execution = must(board.store().record(elsewhere));
  for (const auto& [sample, nll] : {std::pair(0, 9.0), std::pair(3, 1.0)})
    must(board.store().record(
        response_row(*runs[0].experiment_id, sample_row(sample).id, execution, nll)));
  const RunComparison comparison =
      must(compare_runs(board.store(), runs[0].id, board.store(), runs[1].id, {}));
  const ReportPage page = compare_trace(comparison);
  const auto& rows = page.sections.at(1).table.rows;
  ASSERT_THAT(rows, SizeIs(comparison.metrics.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].at(0).text, comparison.metrics[i].metric);
    EXPECT_NEAR(answer(board.store().path(), rows[i].at(2).text).at(0),
                comparison.metrics[i].difference.value, 1e-9)
        << rows[i].at(2).text;
  }
  const std::string csv = render(page, {.format = ReportFormat::kCsv});
  EXPECT_THAT(csv, HasSubstr("table,metric,B - A,query\nqueries,answer_nll,0."));
  EXPECT_THAT(csv, HasSubstr("rows,A," + runs[0].id));
}

}  // namespace
}  // namespace strata::test
