// Answers that a database holds are not asked for again, and only these. Runs the real programs on
// a small model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/behaviour/small_job.h"

namespace strata {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::Outcome;
using testing::read_file;
using testing::SmallJob;
using testing::write_file;

class AnsweredTest : public ::testing::Test {
 protected:
  // Full attention, under a name that is another configuration each time.
  std::string run(const std::string& more, const std::string& strategy) const {
    const Outcome outcome = job_.strata("run", strategy + " " + more);
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
    const Outcome dump = testing::run_strata("db dump " + job_.path("a.db"));
    EXPECT_EQ(dump.code, 0) << dump.text;
    std::string out;
    std::istringstream lines(dump.text);
    for (std::string line; std::getline(lines, line);)
      if (line.find("responses") == 0) out += line + "\n";
    return out;
  }

  SmallJob job_;
};

TEST_F(AnsweredTest, TheSamePlanIsNotAskedTwiceWhoeverChoseIt) {
  EXPECT_THAT(first(), Not(HasSubstr("answered before")));
  const std::string recorded = answers();
  EXPECT_THAT(second(), HasSubstr(fmt::format("({0} of {0} samples were answered before)",
                                              SmallJob::kQuestions)));
  EXPECT_EQ(answers(), recorded);
  const Outcome report =
      testing::run_strata("report leaderboard --format csv db=" + job_.path("a.db"));
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
  testing::write_questions(job_.path("questions.jsonl"), SmallJob::kQuestions + 1, 2);
  EXPECT_THAT(second(), Not(HasSubstr("answered before")));
}

// What caches that know a model by its name or path get wrong.
TEST_F(AnsweredTest, OtherWeightsUnderTheSamePathAreAskedAnew) {
  first();
  const std::string before = answers();
  const std::string file = job_.path("model/model.safetensors");
  std::string weights = read_file(file);
  weights[weights.size() - 4000] ^= 0x40;
  write_file(file, weights);
  EXPECT_THAT(second(), Not(HasSubstr("answered before")));
  EXPECT_NE(answers(), before);
}

}  // namespace
}  // namespace strata
