// Which samples share what: splits, distractors, threads.
#include <set>
#include <thread>

#include "benchmarks/longmemeval_date.h"
#include "longmemeval_fixture.h"

namespace strata {
namespace {

using nlohmann::json;

void expect_equal(const std::vector<Sample>& a, const std::vector<Sample>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].id, b[i].id);
    EXPECT_EQ(a[i].prompt, b[i].prompt);
    EXPECT_EQ(a[i].answer, b[i].answer);
    EXPECT_EQ(a[i].metadata, b[i].metadata);
    EXPECT_EQ(a[i].cluster, b[i].cluster);
  }
}

TEST_F(LongMemEvalTest, EachQuestionIsInOneSplitWithItsTwin) {
  config_.items = MemoryItems::kAll;
  std::map<std::string, Split> splits;
  std::map<std::string, std::string> clusters;
  for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest})
    for (const Sample& sample : drawn(0, 3, split)) {
      const std::string id = sample.metadata["question_id"];
      EXPECT_TRUE(splits.emplace(id, split).second) << id;
      clusters[id] = sample.cluster;
    }
  EXPECT_EQ(splits.size(), items_.size());
  int twins = 0;
  for (const auto& [id, split] : splits)
    if (const auto twin = splits.find(id + "_abs"); twin != splits.end()) {
      ++twins;
      EXPECT_EQ(twin->second, split) << id;
      EXPECT_EQ(clusters[id], clusters[twin->first]);
    }
  EXPECT_EQ(twins, 7);
}

TEST_F(LongMemEvalTest, SharedSessionsOfSplitsAreRefusedAndDerivedSetsShareNone) {
  config_.items = MemoryItems::kAll;
  const auto check = [&] {
    return check_disjoint(drawn(0, 1, Split::kCalibration), drawn(0, 2, Split::kTest));
  };
  const Status shared = check();  // the same sessions without evidence stand in many histories
  ASSERT_FALSE(shared.has_value());
  EXPECT_NE(shared.error().message.find("share the chat session"), std::string::npos)
      << shared.error().text();
  config_.sessions = 6;
  EXPECT_TRUE(check().has_value()) << check().error().text();
  config_.questions = MemoryQuestions::kAll;
  const Status same = check();
  ASSERT_FALSE(same.has_value());
  EXPECT_NE(same.error().message.find(" share the "), std::string::npos) << same.error().text();
}

TEST_F(LongMemEvalTest, ASampleOfAnotherFormOfTheQuestionIsRefused) {
  config_.questions = MemoryQuestions::kAll;
  config_.sessions = 4;
  auto calibration = drawn(1);
  auto test = drawn(1);
  test[0].prompt_text += " ";
  test[0].metadata["session_ids"] = json::array();
  const Status same = check_disjoint(calibration, test);
  ASSERT_FALSE(same.has_value());
  EXPECT_NE(same.error().message.find("share the question small_"), std::string::npos)
      << same.error().text();
}

TEST_F(LongMemEvalTest, DerivedHistoriesHoldTheEvidenceAndDistractors) {
  config_.questions = MemoryQuestions::kAll;
  config_.sessions = 7;
  const auto samples = drawn();
  std::set<std::string> others;
  for (const Sample& sample : samples) {
    const LongMemEvalItem& item = items_.at(sample.metadata["question_id"]);
    const json& ids = sample.metadata["session_ids"];
    EXPECT_EQ(ids.size(), 7U);
    EXPECT_EQ(std::set<std::string>(ids.begin(), ids.end()).size(), 7U);
    EXPECT_EQ(sample.metadata["evidence"].size(), item.labels.turns.size());
    for (const DatedSession& session : item.history.sessions) {
      const bool evidence =
          item.labels.sessions[static_cast<std::size_t>(&session - item.history.sessions.data())];
      const bool shown =
          sample.prompt_text.find("Session Date: " + session.date) != std::string::npos;
      EXPECT_EQ(shown, evidence) << item.id;
    }
    // Sorted by date, all before the question.
    std::string last;
    const std::string mark = "\nSession Date: ";
    for (auto at = sample.prompt_text.find(mark); at != std::string::npos;
         at = sample.prompt_text.find(mark, at + 1)) {
      const std::string date = sample.prompt_text.substr(at + mark.size(), 22);
      EXPECT_TRUE(minutes_of_date(date)) << date;
      EXPECT_LE(last, date);
      EXPECT_LE(date, item.history.question_date);
      last = date;
    }
    for (const auto& id : ids) others.insert(id.get<std::string>());
  }
  EXPECT_GT(others.size(), 60U);
  const auto again = drawn(0, 2);
  for (const Sample& sample : samples)
    EXPECT_NE(find(again, sample.metadata["question_id"]).metadata["session_ids"],
              sample.metadata["session_ids"])
        << "the seed draws other distractors";
}

TEST_F(LongMemEvalTest, OwnDistractorsKeepTheirDates) {
  config_.questions = MemoryQuestions::kAll;
  config_.sessions = 3;
  config_.distractors = Distractors::kOwn;
  for (const Sample& sample : drawn()) {
    const LongMemEvalItem& item = items_.at(sample.metadata["question_id"]);
    std::size_t shown = 0;
    for (std::size_t s = 0; s < item.history.sessions.size(); ++s) {
      const bool there = sample.prompt_text.find(
                             "Session Date: " + item.history.sessions[s].date) != std::string::npos;
      shown += there ? 1U : 0U;
      EXPECT_TRUE(there || !item.labels.sessions[s]);
    }
    EXPECT_EQ(shown, 3U);
  }
  config_.sessions = 40;
  EXPECT_NE(error_of(model_.request(0)).find("sessions to draw"), std::string::npos)
      << error_of(model_.request(0));
  config_.sessions = 1;
  EXPECT_NE(error_of(model_.request(0)).find("has 2 sessions of evidence, which 1 cannot hold"),
            std::string::npos)
      << error_of(model_.request(0));
}

TEST_F(LongMemEvalTest, SamplesDependOnTheRequestAlone) {
  config_.questions = MemoryQuestions::kAll;
  for (const std::int64_t sessions : {0, 5}) {
    config_.sessions = sessions;
    const auto samples = drawn(0, 7);
    std::vector<std::vector<Sample>> made(4);
    const auto benchmark = make_longmemeval(config_);
    std::vector<std::thread> threads;
    threads.reserve(made.size());
    for (std::vector<Sample>& out : made)
      threads.emplace_back([&] { out = *benchmark->samples(model_.request(0, 7)); });
    for (std::thread& thread : threads) thread.join();
    for (const auto& other : made) expect_equal(samples, other);
    // Sample i does not depend on how many there are.
    expect_equal({samples.begin(), samples.begin() + 6}, drawn(6, 7));
    EXPECT_NE(drawn(6, 8)[0].id + drawn(6, 8)[1].id, samples[0].id + samples[1].id);
  }
}

}  // namespace
}  // namespace strata
