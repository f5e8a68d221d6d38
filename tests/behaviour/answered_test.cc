// Answers that a database holds are not asked for again, and only these. Runs the real programs on
// a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/behaviour/program.h"
#include "tests/crash/tiny_model.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Outcome;
using testing::run_strata;

constexpr const char* kReused = "(4 of 4 samples were answered before)";

class AnsweredTest : public ::testing::Test {
 protected:
  AnsweredTest() {
    testing::write_tiny_model(folder() / "model");
    testing::write_questions(folder() / "questions.jsonl", 4, 4);
  }

  const fs::path& folder() const { return folder_.path(); }
  // Full attention, under a name that is another configuration each time.
  std::string run(const std::string& more, const std::string& strategy) const {
    const Outcome outcome = run_strata(
        fmt::format("run model=directory model.path={} model.chat_template=none benchmark=jsonl "
                    "benchmark.path={} calibration.samples=4 mixer.window=16 mixer.sinks=2 "
                    "threads=1 db={} {} {}",
                    (folder() / "model").string(), (folder() / "questions.jsonl").string(),
                    (folder() / "results.db").string(), strategy, more));
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    EXPECT_THAT(outcome.text, HasSubstr("1 run recorded"));
    return outcome.text;
  }
  std::string first(const std::string& more = "") const { return run(more, "strategy=full"); }
  std::string second(const std::string& more = "") const {
    return run(more, "strategy=ends budget.units=6");  // of six layers
  }
  // Rows of answers, one a line.
  std::string answers() const {
    const Outcome dump = run_strata("db dump " + (folder() / "results.db").string());
    EXPECT_EQ(dump.code, 0) << dump.text;
    std::string out;
    std::istringstream lines(dump.text);
    for (std::string line; std::getline(lines, line);)
      if (line.find("responses") == 0) out += line + "\n";
    return out;
  }

 private:
  testing::TemporaryDirectory folder_;
};

TEST_F(AnsweredTest, TheSamePlanIsNotAskedTwiceWhoeverChoseIt) {
  EXPECT_THAT(first(), Not(HasSubstr("answered before")));
  const std::string recorded = answers();
  EXPECT_THAT(second(), HasSubstr(kReused));
  EXPECT_EQ(answers(), recorded);
  const Outcome report =
      run_strata("report leaderboard --format csv db=" + (folder() / "results.db").string());
  EXPECT_EQ(report.code, 0) << report.text;
  EXPECT_THAT(report.text, HasSubstr(",full,"));
}

TEST_F(AnsweredTest, WhatChangesAnswersIsAskedAnew) {
  first();
  for (const char* more : {"mixer.window=17 strategy=none", "dtype=float64", "threads=2",
                           "model.chat_template=chatml", "benchmark.generation_limit=3"}) {
    SCOPED_TRACE(more);
    EXPECT_THAT(second(more), Not(HasSubstr("answered before")));
  }
  fs::copy_file(folder() / "questions.jsonl", folder() / "kept.jsonl");
  testing::write_questions(folder() / "questions.jsonl", 5, 4);
  EXPECT_THAT(second(), Not(HasSubstr("answered before")));
}

// What caches that know a model by its name or path get wrong.
TEST_F(AnsweredTest, OtherWeightsUnderTheSamePathAreAskedAnew) {
  first();
  const std::string before = answers();
  {
    std::fstream weights(folder() / "model" / "model.safetensors",
                         std::ios::in | std::ios::out | std::ios::binary);
    weights.seekg(-4000, std::ios::end);
    char byte = 0;
    weights.get(byte);
    weights.seekp(-4000, std::ios::end);
    weights.put(static_cast<char>(byte ^ 0x40));
  }
  EXPECT_THAT(second(), Not(HasSubstr("answered before")));
  EXPECT_NE(answers(), before);
}

}  // namespace
}  // namespace strata
