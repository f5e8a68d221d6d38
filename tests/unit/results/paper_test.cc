// Published tables and verdicts, with made-up papers and answers.
#include <limits>

#include "core/config/value.h"
#include "leaderboard_fixture.h"
#include "memory_fixture.h"
#include "results/reports/paper_compare.h"
#include "results/sqlite.h"

namespace strata::test {
namespace {

using config::List;
using config::Map;
using config::Value;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Value map_of(const std::vector<std::pair<std::string, Value>>& entries) {
  Map map;
  for (const auto& [key, value] : entries) map.set(key, value);
  return Value(std::move(map));
}

// A value at a line, for errors.
Value at(Value value, std::size_t line) {
  value.pos = {"p.yaml", line, 3};
  return value;
}

Value cell(List values, const char* note) {
  return map_of({{"values", Value(std::move(values))}, {"note", note}});
}

// What Board's runs are of, as a paper would print it.
PaperSetting same_as_ours() {
  PaperSetting setting;
  setting.model = model_row().name;
  setting.benchmark = "niah";
  setting.metric = "gen_contains";
  setting.unit = "percent";
  setting.length = 512;
  setting.task = "single";
  setting.fraction = 0.25;
  setting.window = kWindow;
  setting.sinks = kSinks;
  setting.decode_rule = "same";
  setting.trained = false;
  return setting;
}

PaperRow row(const std::string& name, std::optional<std::string> strategy,
             std::vector<PublishedValue> values) {
  return {name, std::move(strategy), {}, std::move(values), {}};
}

Paper paper_of(const PaperSetting& setting, std::vector<PaperRow> rows, std::size_t columns = 1) {
  PaperTable table{"t", "Table 1", "full_text", setting, {}, std::move(rows), {}};
  for (std::size_t i = 0; i < columns; ++i) table.columns.push_back({fmt::format("c{}", i), {}});
  return {"A paper", "0000.00000", "full_text", {}, {std::move(table)}};
}

constexpr const char* kAsked = R"({"task":"single","length":512})";

// Each answer thrice: of fewer than 20 there is no verdict.
std::vector<double> thrice(const std::vector<double>& answers) {
  std::vector<double> out;
  for (int i = 0; i < 3; ++i) out.insert(out.end(), answers.begin(), answers.end());
  return out;
}

// 24 answers, 15 right: 62.5 %, Wilson's interval [42.7, 78.8].
class PaperVerdicts : public ::testing::Test {
 protected:
  PaperVerdicts() : board(folder.file("p.db"), 24) {
    add("nll_restore", {1}, {1, 1, 1, 1, 1, 0, 0, 0});
  }
  void add(const std::string& label, std::vector<int> layers, const std::vector<double>& contains,
           const std::string& model = "") {
    board.add({.label = label,
               .group = {},
               .layers = std::move(layers),
               .nll = std::vector<double>(24, 1),
               .contains = thrice(contains),
               .benchmark_json = kAsked,
               .model = model});
  }
  PaperComparison compare(const Paper& paper) {
    return must(compare_paper(paper, &board.store(), {}));
  }
  PaperLine only_line(const PaperSetting& setting, const PublishedValue& value,
                      const std::string& method = "nll_restore") {
    const PaperComparison comparison = compare(paper_of(setting, {row("m", method, {value})}));
    EXPECT_THAT(comparison.lines, SizeIs(1));
    return comparison.lines.at(0);
  }

  TemporaryFolder folder;
  Board board;
};

TEST_F(PaperVerdicts, ReproducedInsideOurInterval) {
  const PaperLine line = only_line(same_as_ours(), {{64.0}, ""});
  EXPECT_EQ(line.verdict, PaperVerdict::kReproduced) << fmt::format("{}", line.reasons.at(0));
  EXPECT_DOUBLE_EQ(line.ours->value, 0.625);
  EXPECT_EQ(line.label, "nll_restore");
}

TEST_F(PaperVerdicts, DiffersOutsideIt) {
  EXPECT_EQ(only_line(same_as_ours(), {{78.0}, ""}).verdict, PaperVerdict::kReproduced);
  const PaperLine line = only_line(same_as_ours(), {{80.0}, ""});
  EXPECT_EQ(line.verdict, PaperVerdict::kDiffers);
  EXPECT_THAT(line.reasons, ElementsAre("the published value is outside our 95 % interval"));
}

TEST_F(PaperVerdicts, FewClustersAllowNone) {
  std::vector<std::string> clusters;
  clusters.reserve(24);
  for (int i = 0; i < 24; ++i) clusters.push_back("c" + std::to_string(i % 3));
  board.use_samples(100, 24, clusters);
  add("flashmorph", {2}, {0, 0, 0, 0, 0, 0, 0, 0});
  add("light_transfer", {3}, {1, 1, 1, 1, 1, 1, 1, 0});
  for (const double published : {1.0, 87.5}) {
    const PaperLine line = only_line(same_as_ours(), {{published}, ""}, "light_transfer");
    EXPECT_EQ(line.verdict, PaperVerdict::kNotComparable);
    EXPECT_THAT(line.reasons, ElementsAre("3 clusters: fewer than 20"));
    EXPECT_TRUE(line.ours);
  }
  const PaperOrder order =
      compare(paper_of(same_as_ours(), {row("a", "flashmorph", {{{60}, ""}}),
                                        row("b", "light_transfer", {{{80}, ""}})}))
          .orders.at(0);
  EXPECT_EQ(order.clusters, 3U);
  EXPECT_LT(order.difference.interval->high, 0);
  EXPECT_EQ(order.verdict(), "not resolved");
}

TEST_F(PaperVerdicts, SharesAreNotPercent) {
  PaperSetting share = same_as_ours();
  share.unit = "share";
  EXPECT_EQ(only_line(share, {{0.64}, ""}).verdict, PaperVerdict::kReproduced);
  EXPECT_EQ(only_line(share, {{64.0}, ""}).verdict, PaperVerdict::kDiffers);
}

TEST_F(PaperVerdicts, AnyOtherSettingIsNotComparableAndSaysWhy) {
  const auto reasons = [&](auto change) {
    PaperSetting setting = same_as_ours();
    change(setting);
    const PaperLine line = only_line(setting, {{64.0}, ""});
    EXPECT_EQ(line.verdict, PaperVerdict::kNotComparable);
    EXPECT_EQ(line.ours.has_value(),
              setting.unit == "percent" && setting.benchmark == "niah" && setting.task == "single")
        << "a share beside seconds, or of another question";
    return line.reasons;
  };
  EXPECT_THAT(reasons([](PaperSetting& s) { s.model = "Qwen3-1.7B"; }),
              ElementsAre(HasSubstr(", published Qwen3-1.7B")));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.model.reset(); }), ElementsAre("model not stated"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.benchmark = "ruler"; }),
              ElementsAre("benchmark niah, published ruler"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.task = "multi_key"; }),
              ElementsAre("task single, published multi_key"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.length = 32000; }),
              ElementsAre("length 512, published 32000"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.fraction = 0.5; }),
              ElementsAre("budget 0.25, published 0.5"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.sinks = kSinks + 1; }),
              ElementsAre(HasSubstr("sinks")));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.decode_rule = "full"; }),
              ElementsAre("decode rule same, published full"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.linear = "gla"; }),
              ElementsAre("linear attention none, published gla"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.window.reset(); }),
              ElementsAre("what replaces full attention not stated"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.trained = true; }),
              ElementsAre("weights as they are, published tuned"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.metric = "judged"; }),
              ElementsAre("metric gen_contains, published judged"));
  EXPECT_THAT(reasons([](PaperSetting& s) { s.unit = "s"; }), ElementsAre("a value in s"));
}

TEST_F(PaperVerdicts, LengthsMayBeRounded) {
  PaperSetting setting = same_as_ours();
  setting.length = 500;
  EXPECT_EQ(only_line(setting, {{64.0}, ""}).verdict, PaperVerdict::kReproduced);
}

TEST_F(PaperVerdicts, TheClosestRunIsTaken) {
  add("nll_restore", {2}, {0, 0, 0, 0, 0, 0, 0, 0}, "another");
  PaperSetting setting = same_as_ours();
  EXPECT_DOUBLE_EQ(only_line(setting, {{64.0}, ""}).ours->value, 0.625);
  setting.model = "another";
  EXPECT_EQ(only_line(setting, {{64.0}, ""}).verdict, PaperVerdict::kDiffers);
}

TEST_F(PaperVerdicts, AModelMayBeNamedByItsPath) {
  add("nll_restore", {2}, {1, 1, 1, 1, 1, 0, 0, 0}, "/models/Qwen3-4B/");
  PaperSetting setting = same_as_ours();
  setting.model = "Qwen3-4B";
  EXPECT_EQ(only_line(setting, {{64.0}, ""}).verdict, PaperVerdict::kReproduced);
  setting.model = "4B";
  EXPECT_EQ(only_line(setting, {{64.0}, ""}).verdict, PaperVerdict::kNotComparable);
}

TEST_F(PaperVerdicts, ALongerLabelOfTheMethodCounts) {
  EXPECT_EQ(only_line(same_as_ours(), {{64.0}, ""}, "nll").verdict, PaperVerdict::kReproduced);
  EXPECT_EQ(only_line(same_as_ours(), {{64.0}, ""}, "nl").verdict, PaperVerdict::kNotRun);
  add("periodic_stride[1]", {2}, {0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(only_line(same_as_ours(), {{64.0}, ""}, "periodic[1]").label, "periodic_stride[1]");
  EXPECT_EQ(only_line(same_as_ours(), {{64.0}, ""}, "periodic").label, "periodic_stride[1]");
  EXPECT_EQ(only_line(same_as_ours(), {{64.0}, ""}, "periodic[0]").verdict, PaperVerdict::kNotRun);
}

TEST_F(PaperVerdicts, NotRunNoMethodAndConflicting) {
  const Paper paper = paper_of(
      same_as_ours(),
      {row("a", "flashmorph", {{{1}, ""}}), row("b", std::nullopt, {{{1}, ""}}),
       row("c", "nll_restore", {{{64, 20}, "other"}}), row("d", "nll_restore", {{{}, ""}})});
  const PaperComparison comparison = compare(paper);
  ASSERT_THAT(comparison.lines, SizeIs(3)) << "no number, no verdict";
  EXPECT_EQ(comparison.lines[0].verdict, PaperVerdict::kNotRun);
  EXPECT_EQ(comparison.lines[1].verdict, PaperVerdict::kNoMethod);
  EXPECT_EQ(comparison.lines[2].verdict, PaperVerdict::kConflicting);
  EXPECT_TRUE(comparison.lines[2].ours) << "ours is shown all the same";
}

TEST_F(PaperVerdicts, WithoutADatabaseNothingWasRun) {
  const Paper paper = paper_of(same_as_ours(), {row("a", "nll_restore", {{{64}, ""}})});
  const PaperComparison comparison = must(compare_paper(paper, nullptr, {}));
  EXPECT_EQ(comparison.lines.at(0).verdict, PaperVerdict::kNotRun);
  EXPECT_THAT(comparison.orders, IsEmpty());
}

TEST_F(PaperVerdicts, OrderHoldsIsReversedOrIsNotResolved) {
  add("flashmorph", {2}, {0, 0, 0, 0, 0, 0, 0, 0});
  add("light_transfer", {3}, {1, 1, 1, 1, 0, 0, 0, 1});
  const Paper paper = paper_of(same_as_ours(),
                               {row("a", "nll_restore", {{{60}, ""}, {{70}, ""}, {{9, 8}, "x"}}),
                                row("b", "flashmorph", {{{50}, ""}, {{80}, ""}, {{10}, ""}}),
                                row("c", "light_transfer", {{{80}, ""}, {{90}, ""}, {{10}, ""}})},
                               3);
  const PaperComparison comparison = compare(paper);
  ASSERT_THAT(comparison.orders, SizeIs(3));
  EXPECT_EQ(comparison.orders[0].verdict(), "holds in 1 of 2");
  EXPECT_DOUBLE_EQ(comparison.orders[0].difference.value, 0.625);
  EXPECT_EQ(comparison.orders[1].verdict(), "not resolved");
  EXPECT_EQ(comparison.orders[2].verdict(), "holds") << "flashmorph below light_transfer";
  const std::string text = render(paper_page(paper, comparison, ReportFormat::kText), {});
  EXPECT_THAT(text, HasSubstr("above in 1 of 2"));
}

// Where the paper asked a judge, the order is by what a judge said of both; calls that failed and
// responses that nobody judged are left out and counted.
TEST_F(PaperVerdicts, OrdersAreByTheJudgeWhereThePaperHasOne) {
  add("flashmorph", {2}, {0, 0, 0, 0, 0, 0, 0, 0});
  PaperSetting setting = same_as_ours();
  setting.metric = "judged";
  setting.judge = "judge-1";
  const Paper paper = paper_of(
      setting, {row("a", "nll_restore", {{{60}, ""}}), row("b", "flashmorph", {{{50}, ""}})});
  EXPECT_EQ(compare(paper).orders.at(0).metric, "gen_contains");
  const std::vector<RunRow> runs = must(board.store().runs());
  int second = 0;
  const auto judge = [&](const RunRow& run, std::size_t i, JudgedAs verdict) {
    const std::vector<ResponseRow> responses = must(board.store().responses_of(*run.experiment_id));
    JudgementRow row = judgement_row(responses.at(i), second++);
    row.rubric = "swaa/answer";
    row.verdict = verdict;
    row.official = verdict == JudgedAs::kYes;
    if (verdict == JudgedAs::kFailed) row.official.reset();
    row.id = judgement_id(row);
    must(board.store().record(row));
  };
  for (std::size_t i = 0; i < 6; ++i) judge(runs.at(0), i, JudgedAs::kNo);
  for (std::size_t i = 0; i < 5; ++i) judge(runs.at(1), i, JudgedAs::kYes);
  judge(runs.at(1), 5, JudgedAs::kFailed);
  const PaperOrder order = compare(paper).orders.at(0);
  EXPECT_THAT(order.metric, HasSubstr("judged by judge-1 at 127.0.0.1:8001 (swaa prompts"));
  EXPECT_THAT(order.metric, HasSubstr("5 of 24"));
  EXPECT_DOUBLE_EQ(order.difference.value, -1);
}

TEST_F(PaperVerdicts, NoOrderBetweenPublishedSettings) {
  add("flashmorph", {2}, {0, 0, 0, 0, 0, 0, 0, 0});
  Paper paper = paper_of(same_as_ours(), {row("a", "nll_restore", {{{60}, ""}}),
                                          row("b", "flashmorph", {{{80}, ""}})});
  EXPECT_EQ(compare(paper).orders.at(0).verdict(), "reversed");
  paper.tables[0].rows[1].setting.window = 77;
  EXPECT_THAT(compare(paper).orders, IsEmpty());
}

TEST_F(PaperVerdicts, OrdersAreOfThePublishedBudget) {
  add("flashmorph", {2}, {0, 0, 0, 0, 0, 0, 0, 0});
  Paper paper = paper_of(same_as_ours(),
                         {row("a", "nll_restore", {{{60}, ""}, {{60}, ""}}),
                          row("b", "flashmorph", {{{50}, ""}, {{80}, ""}})},
                         2);
  paper.tables[0].setting.fraction.reset();
  EXPECT_EQ(compare(paper).orders.at(0).columns, 2U) << "none is published";
  paper.tables[0].columns[0].setting.fraction = 0.25;
  paper.tables[0].columns[1].setting.fraction = 0.5;
  EXPECT_EQ(compare(paper).orders.at(0).verdict(), "holds");
  EXPECT_EQ(compare(paper).orders.at(0).columns, 1U);
  paper.tables[0].columns[0].setting.fraction = 0.125;
  EXPECT_THAT(compare(paper).orders, IsEmpty());
}

TEST_F(PaperVerdicts, NoOrderAcrossOurModels) {
  add("flashmorph", {2}, {0, 0, 0, 0, 0, 0, 0, 0}, "another");
  const Paper paper = paper_of(same_as_ours(), {row("a", "nll_restore", {{{60}, ""}}),
                                                row("b", "flashmorph", {{{80}, ""}})});
  EXPECT_THAT(compare(paper).orders, IsEmpty());
}

TEST_F(PaperVerdicts, PageCountsVerdictsInEveryFormat) {
  const Paper paper =
      paper_of(same_as_ours(), {row("a", "nll_restore", {{{64}, ""}}), row("b", "x", {{{1}, ""}}),
                                row("c", std::nullopt, {{{2.5}, "smudged"}})});
  const PaperComparison comparison = compare(paper);
  const std::string text = render(paper_page(paper, comparison, ReportFormat::kText), {});
  EXPECT_THAT(text, HasSubstr("3 values: 1 reproduced, 0 differs, 0 not comparable, 1 not run, 1 "
                              "not run: method not in strata, 0 conflicting sources"));
  EXPECT_THAT(text, HasSubstr("doubtful: smudged"));
  EXPECT_THAT(text, HasSubstr("62.5 ["));
  EXPECT_THAT(text, HasSubstr("nll_restore, 24 samples"));
  const std::string csv =
      render(paper_page(paper, comparison, ReportFormat::kCsv), {.format = ReportFormat::kCsv});
  EXPECT_THAT(csv,
              HasSubstr("t,c,c0,2.5 (doubtful: smudged),,,,,not run: method not in strata,\n"));
  for (const ReportFormat format : {ReportFormat::kMarkdown, ReportFormat::kLatex})
    EXPECT_THAT(render(paper_page(paper, comparison, format), {.format = format}),
                HasSubstr("reproduced"));
}

// Six questions four times, of which a judge calls 16 right: Wilson's interval [46.7, 82.0].
TEST(PaperJudged, IsThePublishedJudgesVerdictWithThePublishedPrompt) {
  const TemporaryFolder folder;
  Store store = must(Store::open(folder.file("j.db"), Store::Mode::kReadWrite));
  std::vector<MemoryAnswer> answers;
  for (int i = 0; i < 4; ++i)
    for (MemoryAnswer answer : six_answers()) {
      answer.id = std::to_string(i) + answer.id;
      answers.push_back(std::move(answer));
    }
  const std::string experiment = record_memory_run(store, "nll_restore", answers);
  const auto judge = [&](const std::string& rubric, std::size_t first) {
    const std::vector<ResponseRow> responses = must(store.responses_of(experiment));
    for (std::size_t i = first; i < responses.size(); ++i) {
      JudgementRow row = judgement_row(responses[i], static_cast<int>(i));
      row.id.clear();
      row.judge_model = "gpt-5-mini";
      row.rubric = rubric;
      row.verdict = i < 16 ? JudgedAs::kYes : JudgedAs::kNo;
      row.official = i < 16;
      must(store.record(row));
    }
  };
  PaperSetting setting = same_as_ours();
  setting.benchmark = "longmemeval";
  setting.length = 512;
  setting.metric = "judged";
  setting.judge = "gpt-5-mini";
  const auto line = [&] {
    const RunRow run = must(store.runs()).at(0);
    setting.decode_rule = to_string(run.decode_rule);
    setting.window = run.window;
    setting.sinks = run.sinks;
    return must(compare_paper(paper_of(setting, {row("m", "nll_restore", {{{64.6}, ""}})}), &store,
                              {}))
        .lines.at(0);
  };
  setting.task = "single";  // of the fixture's run
  EXPECT_THAT(line().reasons, Contains("metric gen_contains, published judged")) << "not judged";
  judge("longmemeval/multi-session", 0);
  EXPECT_THAT(line().reasons, ElementsAre(HasSubstr("(longmemeval prompts"))) << "another prompt";
  judge("swaa", 1);
  EXPECT_THAT(line().reasons, ElementsAre("1 question without a verdict"));
  judge("swaa", 0);
  const PaperLine whole = line();
  EXPECT_EQ(whole.verdict, PaperVerdict::kReproduced) << fmt::format("{}", whole.reasons.at(0));
  EXPECT_NEAR(whole.ours->value, 4.0 / 6, 1e-12);
  const auto connection = must(Connection::open(store.path(), Connection::Open::kReadOnly));
  const std::vector<SqlRow> traced = must(connection->query(whole.sql));
  EXPECT_NEAR(std::get<double>(traced.at(0).at(0)), 4.0 / 6, 1e-12) << whole.sql;
  setting.judge = "gpt-4o";
  EXPECT_EQ(line().verdict, PaperVerdict::kNotComparable);
}

// A paper as YAML gives it; `values` are those of its one row.
Value yaml_with(Value values) {
  return at(
      map_of({{"title", "T"},
              {"arxiv", "1"},
              {"read", "note"},
              {"tables",
               Value(List{at(
                   map_of({{"name", "t"},
                           {"source", "Table 1"},
                           {"setting", map_of({{"model", "m"}, {"length", 5}, {"window", 7}})},
                           {"columns", Value(List{map_of({{"name", "x"}}),
                                                  map_of({{"name", "y"},
                                                          {"setting", map_of({{"length", 6}})}})})},
                           {"rows", Value(List{at(map_of({{"name", "r"},
                                                          {"setting", map_of({{"window", 8}})},
                                                          {"values", std::move(values)}}),
                                                  9)})}}),
                   4)})}}),
      1);
}

TEST(PaperYaml, SettingsAreTheRowsOverTheColumnsOverTheTables) {
  const Paper paper = must(parse_paper(yaml_with(Value(List{Value(1), Value(2.5)}))));
  const PaperTable& table = paper.tables.at(0);
  const PaperSetting setting = table.setting_of(table.rows[0], 1);
  EXPECT_EQ(setting.model, "m");
  EXPECT_EQ(setting.length, 6);
  EXPECT_EQ(setting.window, 8);
  EXPECT_EQ(table.setting_of(table.rows[0], 0).length, 5);
  EXPECT_EQ(table.read, "note") << "as the paper";
  EXPECT_THAT(table.rows[0].values[1].values, ElementsAre(2.5));
  EXPECT_EQ(paper.published(), 2U);
}

TEST(PaperYaml, ConflictsDoubtsAndGaps) {
  const Paper paper = must(
      parse_paper(yaml_with(Value(List{cell({Value(44.0), Value(19.6)}, "A and B"), Value()}))));
  const PaperRow& row = paper.tables[0].rows[0];
  EXPECT_THAT(row.values[0].values, ElementsAre(44.0, 19.6));
  EXPECT_EQ(row.values[0].note, "A and B");
  EXPECT_THAT(row.values[1].values, IsEmpty());
  EXPECT_EQ(paper.published(), 1U);
}

TEST(PaperYaml, ErrorsSayWhere) {
  const auto error = [](Value values) {
    const auto paper = parse_paper(yaml_with(std::move(values)));
    return paper ? "no error" : paper.error().text();
  };
  EXPECT_THAT(error(at(Value(List{Value(1)}), 12)),
              AllOf(HasSubstr("p.yaml:12:3"), HasSubstr("expected a list of 2 values")));
  EXPECT_THAT(error(Value("none")), HasSubstr("p.yaml:9:3"));
  EXPECT_THAT(error(Value(List{Value(1), at(Value("about 5"), 13)})),
              AllOf(HasSubstr("p.yaml:13:3"), HasSubstr("'about 5'")));
  EXPECT_THAT(error(Value(List{Value(1), at(cell({Value(1)}, ""), 14)})),
              AllOf(HasSubstr("p.yaml:14:3"), HasSubstr("expected a note")));
  EXPECT_THAT(error(Value(List{Value(1), at(cell({}, "x"), 15)})), HasSubstr("p.yaml:15:3"));
  EXPECT_THAT(error(Value(List{Value(1), at(cell(List(9, Value(1)), "x"), 16)})),
              HasSubstr("1 to 8 values, got 9"));
  EXPECT_THAT(error(Value(List{Value(1), at(Value(std::numeric_limits<double>::infinity()), 17)})),
              AllOf(HasSubstr("p.yaml:17:3"), HasSubstr("finite")));
}

TEST(PaperYaml, UnknownKeysAndMissingTablesAreRefused) {
  Value twice = yaml_with(Value(List{Value(1), Value(2)}));
  List& tables = *twice.find("tables")->if_list();
  tables.push_back(tables[0]);
  EXPECT_THAT(parse_paper(twice).error().text(), HasSubstr("two tables are named 't'"));
  Value unknown = yaml_with(Value(List{Value(1), Value(2)}));
  unknown.if_map()->set("titel", Value("x"));
  EXPECT_THAT(parse_paper(unknown).error().text(), HasSubstr("titel"));
  Value none = yaml_with(Value(List{Value(1), Value(2)}));
  none.if_map()->set("tables", Value(List{}));
  EXPECT_THAT(parse_paper(none).error().text(),
              AllOf(HasSubstr("p.yaml:1:3"), HasSubstr("at least one table")));
}

}  // namespace
}  // namespace strata::test
