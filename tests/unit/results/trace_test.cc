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
    const std::vector<double> found = answer(small.store().path(), rows[i].back());
    ASSERT_THAT(found, SizeIs(1));
    EXPECT_NEAR(found[0], swept.runs[i].nll, 1e-9);
  }
}

// Column `value` of every row is what the query in its last column gives.
void expect_queries_give(const std::string& path, const PageSection& section, std::size_t value) {
  for (const std::vector<std::string>& row : section.table.rows) {
    const std::vector<double> found = answer(path, row.back());
    ASSERT_THAT(found, SizeIs(1)) << row.back();
    EXPECT_NEAR(found[0], std::stod(row[value]), 1e-9) << row.back();
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
  EXPECT_EQ(section.table.rows[0][5], "0.475");
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
  expect_queries_give(store.path(), section, 3);
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
  EXPECT_EQ(section.table.rows[4][3], "nll_difference");
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
    EXPECT_EQ(rows[i].at(0), comparison.metrics[i].metric);
    EXPECT_NEAR(answer(board.store().path(), rows[i].at(2)).at(0),
                comparison.metrics[i].difference.value, 1e-9)
        << rows[i].at(2);
  }
  const std::string csv = render(page, {.format = ReportFormat::kCsv});
  EXPECT_THAT(csv, HasSubstr("table,metric,B - A,query\nqueries,answer_nll,0."));
  EXPECT_THAT(csv, HasSubstr("rows,A," + runs[0].id));
}

}  // namespace
}  // namespace strata::test
