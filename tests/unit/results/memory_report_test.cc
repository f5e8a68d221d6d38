// The report on LongMemEval, from rows with known verdicts.
#include "results/reports/memory_report.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "core/sha256.h"
#include "memory_fixture.h"
#include "results/reports/memory_facts.h"

namespace strata::test {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kUser = "single-session-user";
constexpr const char* kTemporal = "temporal-reasoning";

MemoryAnswer answer(const std::string& id, const std::string& type) {
  return {.id = id, .type = type, .question = "q", .answer = "a", .response = "r"};
}

class MemoryReport : public ::testing::Test {
 protected:
  MemoryReport() : store_(must(Store::open(folder_.file("a.db"), Store::Mode::kReadWrite))) {}

  // Records what a judge said of a question's response; a later call has a later time.
  void judge(const std::string& experiment, const std::string& id, JudgedAs verdict,
             std::optional<bool> official, const std::string& model = "judge-1") {
    for (const ResponseRow& response : must(store_.responses_of(experiment))) {
      if (response.sample_id != sha256_hex("memory " + id)) continue;
      JudgementRow row = judgement_row(response, ++calls_);
      row.id.clear();
      row.judge_model = model;
      row.verdict = verdict;
      row.official = official;
      must(store_.record(row));
    }
  }
  void judge_all(const std::string& experiment, const std::vector<MemoryAnswer>& answers,
                 const std::string& yes) {
    for (std::size_t i = 0; i < answers.size(); ++i)
      judge(experiment, answers[i].id, yes[i] == 'y' ? JudgedAs::kYes : JudgedAs::kNo,
            yes[i] == 'y');
  }
  MemoryBlock block() { return must(memory_report(store_, {})).at(0); }
  static const MemoryRow& row(const MemoryTable& table, const std::string& name) {
    for (const MemoryRow& candidate : table.rows)
      if (candidate.name == name) return candidate;
    ADD_FAILURE() << "no row " << name;
    return table.rows.at(0);
  }

  TemporaryFolder folder_;
  Store store_;
  int calls_ = 0;
};

TEST_F(MemoryReport, HasSharesByTypeTheirMeanTheWholeAndAbstention) {
  const std::vector<MemoryAnswer> answers = {answer("1", kUser),     answer("2", kUser),
                                             answer("3", kUser),     answer("4_abs", kUser),
                                             answer("5", kTemporal), answer("6_abs", kTemporal)};
  const std::string experiment = record_memory_run(store_, "full", answers);
  judge_all(experiment, answers, "yyynny");
  const MemoryBlock made = block();
  ASSERT_EQ(made.tables.size(), 1U);
  const MemoryTable& table = made.tables[0];
  EXPECT_EQ(table.judge->text(),
            "judge-1 at 127.0.0.1:8001 (longmemeval prompts, max_tokens=10 temperature=0.0)");
  EXPECT_THAT(table.reported_models, ElementsAre("judge-1-2025"));
  const auto share = [&](const std::string& name) {
    return row(table, name).judge.official.share->value;
  };
  EXPECT_DOUBLE_EQ(share(kUser), 0.75);
  EXPECT_DOUBLE_EQ(share(kTemporal), 0.5);
  EXPECT_DOUBLE_EQ(share("task-averaged"), 0.625);
  EXPECT_DOUBLE_EQ(share("overall"), 4.0 / 6);
  EXPECT_DOUBLE_EQ(share("abstention"), 0.5);
  EXPECT_EQ(row(table, "abstention").questions, 2U);
  EXPECT_EQ(row(table, kUser).judge.official.share->interval, wilson_interval(3, 4));
  EXPECT_EQ(row(table, "overall").judge.official.share->interval, wilson_interval(4, 6));
  const Interval averaged = *row(table, "task-averaged").judge.official.share->interval;
  EXPECT_LT(averaged.low, 0.625);
  EXPECT_GT(averaged.high, 0.625);
  EXPECT_THAT(table.notes, ElementsAre(HasSubstr("over 2 of 6 types")));
}

TEST_F(MemoryReport, LeavesOutWhatHasNoVerdictAndCountsIt) {
  std::vector<MemoryAnswer> answers;
  answers.reserve(8);
  for (int i = 0; i < 8; ++i) answers.push_back(answer(fmt::format("{}", i), kUser));
  answers[0].response.reset();
  answers[1].contains.reset();  // the checker has no verdict
  answers[2].contains = 0;
  const std::string experiment = record_memory_run(store_, "full", answers);
  judge(experiment, "1", JudgedAs::kYes, true);
  judge(experiment, "2", JudgedAs::kYes, true);
  judge(experiment, "3", JudgedAs::kFailed, {});
  judge(experiment, "4", JudgedAs::kUnparsable, false);
  judge(experiment, "5", JudgedAs::kUnparsable, {});
  judge(experiment, "6", JudgedAs::kNo, false);
  const MemoryTable table = block().tables.at(0);
  const MemoryRow& overall = row(table, "overall");
  EXPECT_EQ(overall.questions, 8U);
  EXPECT_EQ(overall.missing, 1U);
  EXPECT_EQ(overall.checker.n, 6U);
  EXPECT_DOUBLE_EQ(overall.checker.share->value, 5.0 / 6);
  EXPECT_EQ(overall.judge.official.n, 4U);
  EXPECT_DOUBLE_EQ(overall.judge.official.share->value, 0.5);
  EXPECT_EQ(overall.judge.strict.n, 3U);
  EXPECT_DOUBLE_EQ(overall.judge.strict.share->value, 2.0 / 3);
  EXPECT_EQ(overall.judge.unparsable, 2U);
  EXPECT_EQ(overall.judge.unreadable, 1U);
  EXPECT_EQ(overall.judge.failed, 1U);
  EXPECT_EQ(overall.judge.unasked, 1U);
  EXPECT_EQ(overall.judge.compared, 3U);  // 2, 4 and 6
  EXPECT_EQ(overall.judge.agreed, 0U);
  EXPECT_THAT(table.notes,
              ElementsAre("1 question without a response: in no share, as officially; overall with "
                          "these as wrong: 40.0 %",
                          HasSubstr("3 responses without a verdict"), HasSubstr("1 of 6 types")));
}

TEST_F(MemoryReport, TakesTheLatestCallThatHadNotFailed) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  judge(experiment, "q1", JudgedAs::kFailed, {});
  judge(experiment, "q1", JudgedAs::kNo, false);
  judge(experiment, "q1", JudgedAs::kYes, true);
  judge(experiment, "q1", JudgedAs::kFailed, {});
  const MemoryTable table = block().tables.at(0);
  EXPECT_EQ(row(table, kUser).judge.official.share->value, 1);
  EXPECT_EQ(row(table, kUser).judge.failed, 0U);
  EXPECT_EQ(row(table, "overall").judge.unasked, 5U);
}

TEST_F(MemoryReport, KeepsJudgesApart) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  for (const MemoryAnswer& asked : six_answers()) {
    judge(experiment, asked.id, JudgedAs::kYes, true);
    judge(experiment, asked.id, JudgedAs::kNo, false, "judge-2");
  }
  const MemoryBlock made = block();
  ASSERT_EQ(made.tables.size(), 2U);
  EXPECT_EQ(made.tables[0].judge->model, "judge-1");
  EXPECT_EQ(row(made.tables[0], "overall").judge.official.share->value, 1);
  EXPECT_EQ(made.tables[1].judge->model, "judge-2");
  EXPECT_EQ(row(made.tables[1], "overall").judge.official.share->value, 0);
  EXPECT_EQ(row(made.tables[1], "overall").judge.agreed, 0U);
  const std::string text = render(memory_page({made}, ReportFormat::kText), {});
  EXPECT_THAT(text, HasSubstr("judge: judge-2 at 127.0.0.1:8001 (longmemeval prompts, "
                              "max_tokens=10 temperature=0.0) · names itself judge-1-2025"));
}

TEST_F(MemoryReport, DrawsWholeClusters) {
  std::vector<MemoryAnswer> answers;
  std::string yes;
  for (int i = 0; i < 40; ++i) {
    answers.push_back(answer(fmt::format("{}", i), kUser));
    answers.back().cluster = fmt::format("cluster {}", i / 10);
    yes += i < 20 ? 'y' : 'n';
  }
  judge_all(record_memory_run(store_, "full", answers), answers, yes);
  const MemoryBlock made = block();
  EXPECT_EQ(made.clusters, 4U);
  const Interval interval = *row(made.tables.at(0), "overall").judge.official.share->interval;
  // Four clusters: much wider than 40 questions would have it.
  EXPECT_LT(interval.low, wilson_interval(20, 40).low - 0.1);
}

TEST_F(MemoryReport, ClaimsNoCertaintyWhereAllIsRight) {
  std::vector<MemoryAnswer> answers;
  for (int i = 0; i < 10; ++i) {
    answers.push_back(answer(fmt::format("{}", i), kUser));
    answers.back().cluster = fmt::format("cluster {}", i / 2);
  }
  judge_all(record_memory_run(store_, "full", answers), answers, "yyyyyyyyyy");
  const MemoryTable table = block().tables.at(0);
  EXPECT_EQ(row(table, "overall").judge.official.share->interval, wilson_interval(5, 5));
  EXPECT_EQ(row(table, "task-averaged").judge.official.share->interval, std::nullopt);
}

TEST_F(MemoryReport, WithoutAJudgeShowsTheChecker) {
  record_memory_run(store_, "full", six_answers());
  const std::string text = render(memory_page({block()}, ReportFormat::kText), {});
  EXPECT_THAT(text, HasSubstr("no judge was asked (strata score)"));
  EXPECT_THAT(text, HasSubstr("checker %"));
  EXPECT_THAT(text, Not(HasSubstr("judge %")));
}

TEST_F(MemoryReport, WithoutAJudgeCsvDoesNotSayThatNothingFailed) {
  record_memory_run(store_, "full", six_answers());
  const std::string csv =
      render(memory_page({block()}, ReportFormat::kCsv), {.format = ReportFormat::kCsv});
  std::istringstream lines(csv);
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  ASSERT_THAT(line, EndsWith(",judge %,judged,strict %,unparsable,failed,not asked,agree"));
  while (std::getline(lines, line)) EXPECT_THAT(line, EndsWith(",,,,,,,"));
}

TEST_F(MemoryReport, FullAttentionHasNoWindow) {
  record_memory_run(store_, "full", six_answers());
  record_memory_run(store_, "window", six_answers());
  const std::vector<MemoryBlock> blocks = must(memory_report(store_, {}));
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[0].mixer, "");
  EXPECT_THAT(blocks[1].mixer, HasSubstr("window "));
}

TEST_F(MemoryReport, FitsATerminalAndHasEveryRowInCsv) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  for (const MemoryAnswer& asked : six_answers()) judge(experiment, asked.id, JudgedAs::kYes, true);
  record_memory_run(store_, "none at all", six_answers());
  const std::vector<MemoryBlock> blocks = must(memory_report(store_, {}));
  ASSERT_EQ(blocks.size(), 2U);
  const std::string text = render(memory_page(blocks, ReportFormat::kText), {});
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    EXPECT_LE(display_width(text.substr(begin, end - begin)), 160U);
    begin = end + 1;
  }
  const std::string csv =
      render(memory_page(blocks, ReportFormat::kCsv), {.format = ReportFormat::kCsv});
  EXPECT_THAT(csv, HasSubstr("table,run,label,judge,endpoint,settings,rubrics,questions,n,missing,"
                             "checker %,checker %_low,checker %_high,checked,judge %"));
  EXPECT_THAT(csv, HasSubstr(",full,judge-1,127.0.0.1:8001,"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 2 * 9);
}

TEST_F(MemoryReport, TakesTheRunsThatAFilterChooses) {
  record_memory_run(store_, "full", six_answers());
  record_memory_run(store_, "chosen", six_answers());
  const auto blocks = must(memory_report(store_, {{"label", "chosen"}}));
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_EQ(blocks[0].label, "chosen");
  EXPECT_THAT(memory_report(store_, {{"lable", "x"}}).error().text(),
              HasSubstr("no run has a key 'lable'"));
}

TEST(MemoryReportOfOthers, SaysThatThereIsNothing) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  world.run.experiment_id = world.experiment.id;
  must(world.store.update(world.run));
  EXPECT_THAT(memory_report(world.store, {}).error().text(),
              HasSubstr("no run asks questions of LongMemEval"));
}

TEST(MemoryFacts, AreReadFromMetadataOfEitherKind) {
  SampleRow sample = sample_row(0);
  sample.answers = {" 19 days", "19"};
  const nlohmann::json own = {
      {"question_id", "x_abs"}, {"question_type", kTemporal}, {"question", "How long?"}};
  for (const nlohmann::json& metadata :
       {own, nlohmann::json{{"id", "x"}, {"split", "test"}, {"metadata", own}}}) {
    sample.metadata_json = metadata.dump();
    const auto facts = memory_facts(sample);
    ASSERT_TRUE(facts);
    EXPECT_EQ(facts->question_type, kTemporal);
    EXPECT_EQ(facts->answer, "19 days");
    EXPECT_TRUE(facts->abstention);
  }
  nlohmann::json with_answer = own;
  with_answer["answer"] = 19;
  sample.metadata_json = with_answer.dump();
  EXPECT_EQ(memory_facts(sample)->answer, "19");
}

TEST(MemoryFacts, AreMissingWhereTheSampleIsOfSomethingElse) {
  SampleRow sample = sample_row(0);
  for (const char* metadata :
       {"", "{", "[]", "{}", "null", R"({"metadata": 3})", R"({"question_type": 3})",
        R"({"question_type": "two-hop", "question_id": "x", "question": "q"})",
        R"({"question_type": "multi-session", "question_id": "x"})",
        R"({"question_type": "multi-session", "question": "q"})"}) {
    sample.metadata_json = metadata;
    EXPECT_FALSE(memory_facts(sample)) << metadata;
  }
  sample.metadata_json =
      R"({"question_type": "multi-session", "question_id": "x", "question": "q"})";
  EXPECT_TRUE(memory_facts(sample));
  sample.answers.clear();
  EXPECT_FALSE(memory_facts(sample));
}

}  // namespace
}  // namespace strata::test
