// `strata verify` as a person meets it: stored answers of a plan rerun, drift found and named. Runs
// the real programs on a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "tests/behaviour/small_job.h"

namespace strata {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::Outcome;
using testing::read_file;
using testing::SmallJob;
using testing::write_file;
using testing::write_questions;

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() {
    const Outcome selected =
        job_.strata("select -o " + plan(), "strategy=periodic strategy.offset=1");
    EXPECT_EQ(selected.code, 0) << selected.text;
    const Outcome run = job_.strata("run", "strategy=periodic strategy.offset=1");
    EXPECT_EQ(run.code, 0) << run.text;
  }

  std::string plan() const { return job_.path("plan.json"); }
  // By the plan and the database alone.
  Outcome verify(const std::string& more = "") const {
    return testing::run_strata("verify --plan " + plan() + " db=" + job_.path("a.db") + " " + more);
  }
  // Verify finds drift, and its table marks one sample of the six.
  void expect_one_found(const std::string& sql, const std::string& in_table) {
    job_.edit(sql);
    const Outcome outcome = verify();
    EXPECT_EQ(outcome.code, 1) << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr("answers have drifted"));
    EXPECT_THAT(outcome.text, HasSubstr(in_table));
    std::size_t marks = 0;
    for (std::size_t at = 0; (at = outcome.text.find("  drift\n", at)) != std::string::npos; ++at)
      ++marks;
    EXPECT_EQ(marks, 1U) << outcome.text;
  }

  SmallJob job_;
};

TEST_F(VerifyTest, WhatWasRecordedHereHasNotDrifted) {
  const std::string before = read_file(job_.path("a.db"));
  const Outcome outcome = verify();
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("6 of 6 stored samples rerun (seed 0)"));
  EXPECT_THAT(outcome.text, HasSubstr("(tolerance 0.001)"));
  EXPECT_THAT(outcome.text, HasSubstr("0 samples with changed argmax or text (0 allowed)"));
  EXPECT_THAT(outcome.text, HasSubstr("  recorded  cpu, 1 thread, float32, "));
  EXPECT_THAT(outcome.text, HasSubstr("  rerun     cpu, 1 thread, float32, "));
  EXPECT_THAT(outcome.text, Not(HasSubstr("drift\n")));
  EXPECT_EQ(read_file(job_.path("a.db")), before) << "verify writes nothing";
}

TEST_F(VerifyTest, ATamperedNllIsFound) {
  // 0.01 nat more at the first position of one answer.
  expect_one_found(
      "UPDATE responses SET answer_nll_json = json_replace(answer_nll_json, '$[0]', "
      "json_extract(answer_nll_json, '$[0]') + 0.01) WHERE sample_id = (SELECT min(sample_id) FROM "
      "responses)",
      "1 of 6 samples beyond 0.001 nat, 0 with changed argmax or text");
  EXPECT_EQ(verify("--tolerance 0.011").code, 0);
}

TEST_F(VerifyTest, AnAnswerThatLacksAPositionIsFound) {
  expect_one_found(
      "UPDATE responses SET answer_nll_json = json_remove(answer_nll_json, '$[0]') WHERE sample_id "
      "= (SELECT min(sample_id) FROM responses)",
      "inf");
}

TEST_F(VerifyTest, ATamperedArgmaxIsFound) {
  expect_one_found(
      "UPDATE responses SET argmax_json = json_replace(argmax_json, '$[0]', "
      "(json_extract(argmax_json, '$[0]') + 1) % 256) WHERE sample_id = (SELECT min(sample_id) "
      "FROM responses)",
      "0 of 6 samples beyond 0.001 nat, 1 with changed argmax or text");
  EXPECT_THAT(verify().text, HasSubstr("1 of "));
  EXPECT_EQ(verify("--changes 1").code, 0);
}

TEST_F(VerifyTest, TamperedTextIsFoundWithItsTokensAsTheyWere) {
  expect_one_found(
      "UPDATE responses SET text = 'the right answer' WHERE sample_id = (SELECT min(sample_id) "
      "FROM "
      "responses)",
      "0 of 6 samples beyond 0.001 nat, 1 with changed argmax or text");
}

TEST_F(VerifyTest, TamperedTokensAreFound) {
  expect_one_found(
      "UPDATE responses SET tokens_json = json_replace(tokens_json, '$[1]', "
      "(json_extract(tokens_json, '$[1]') + 1) % 256) WHERE sample_id = (SELECT min(sample_id) "
      "FROM "
      "responses)",
      "0 of 6 samples beyond 0.001 nat, 1 with changed argmax or text");
}

TEST_F(VerifyTest, SamplesAreDrawnBySeed) {
  const auto rows = [&](const std::string& more) {
    const Outcome outcome = verify("--samples 2 " + more);
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr("2 of 6 stored samples rerun"));
    const std::size_t rule = outcome.text.find("---\n");
    std::string ids;
    for (std::size_t line = rule + 4; outcome.text[line] != '\n';
         line = outcome.text.find('\n', line) + 1)
      ids += outcome.text.substr(line, 12) + " ";
    return ids;
  };
  const std::string zero = rows("");
  EXPECT_EQ(zero.size(), 26U);
  EXPECT_EQ(rows("--seed 0"), zero);
  bool another = false;
  for (int seed = 1; seed <= 5; ++seed)
    another = another || rows("--seed " + std::to_string(seed)) != zero;
  EXPECT_TRUE(another);
}

TEST_F(VerifyTest, AnotherDtypeIsReportedAndMeasured) {
  const Outcome same = verify("dtype=float64");
  EXPECT_EQ(same.code, 0) << same.text;
  EXPECT_THAT(same.text, HasSubstr("  recorded  cpu, 1 thread, float32, "));
  EXPECT_THAT(same.text, HasSubstr("  rerun     cpu, 1 thread, float64, "));
  const Outcome coarse = verify("dtype=bfloat16");
  EXPECT_EQ(coarse.code, 1) << coarse.text;
  EXPECT_THAT(coarse.text, HasSubstr("6 of 6 samples beyond 0.001 nat"));
}

TEST_F(VerifyTest, TheWordsOfTheRunAreTakenToo) {
  const Outcome outcome = job_.strata("verify --plan " + plan());
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_THAT(outcome.text, HasSubstr("6 of 6 stored samples rerun"));
}

TEST_F(VerifyTest, SaysWhatDoesNotFit) {
  const auto refused = [](const Outcome& outcome) {
    EXPECT_EQ(outcome.code, 1) << outcome.text;
    return outcome.text;
  };
  // Another plan.
  ASSERT_EQ(job_.strata("select -o " + job_.path("other.json"), "strategy=full").code, 0);
  EXPECT_THAT(refused(testing::run_strata("verify --plan " + job_.path("other.json") +
                                          " db=" + job_.path("a.db"))),
              HasSubstr("no run of plan "));
  // No plan, no database.
  EXPECT_THAT(refused(testing::run_strata("verify --plan " + job_.path("none.json") +
                                          " db=" + job_.path("a.db"))),
              HasSubstr("none.json"));
  EXPECT_THAT(
      refused(testing::run_strata("verify --plan " + plan() + " db=" + job_.path("none.db"))),
      HasSubstr("none.db"));
  write_file(job_.path("text.json"), "{\"cells\": [[0]]}");
  EXPECT_THAT(refused(testing::run_strata("verify --plan " + job_.path("text.json") +
                                          " db=" + job_.path("a.db"))),
              HasSubstr("text.json"));
  // Other weights under the same path.
  std::string weights = read_file(job_.folder() / "model" / "model.safetensors");
  weights[weights.size() - 2] ^= 1;
  const std::string kept = read_file(job_.folder() / "model" / "model.safetensors");
  write_file(job_.folder() / "model" / "model.safetensors", weights);
  const std::string other_model = refused(verify());
  EXPECT_THAT(other_model, HasSubstr("no stored sample fits"));
  EXPECT_THAT(other_model, HasSubstr("\n  model: "));
  write_file(job_.folder() / "model" / "model.safetensors", kept);
  // Other questions.
  std::string questions = read_file(job_.folder() / "questions.jsonl");
  for (std::size_t at = 0; (at = questions.find("\"prompt\":\"", at)) != std::string::npos; ++at)
    questions.insert(at + 10, "b");
  write_file(job_.folder() / "questions.jsonl", questions);
  const std::string other_questions = refused(verify());
  EXPECT_THAT(other_questions, HasSubstr("no stored sample fits"));
  EXPECT_THAT(other_questions, HasSubstr("\n  samples: "));
  EXPECT_THAT(other_questions, Not(HasSubstr("\n  model: ")));
}

}  // namespace
}  // namespace strata
