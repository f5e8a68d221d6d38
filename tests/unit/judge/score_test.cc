// Judging stored responses at a real server that misbehaves: what is recorded, skipped, counted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "bad_server.h"
#include "core/sha256.h"
#include "runner/judging.h"
#include "tests/unit/results/memory_fixture.h"

namespace strata::test {
namespace {

using Kind = Behaviour::Kind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string prompt_of(const ServerRequest& request) {
  return nlohmann::json::parse(request.body)["messages"][0]["content"];
}
bool is_about(const ServerRequest& request, const std::string& id) {
  return prompt_of(request).find("question of " + id) != std::string::npos;
}

ScoreRequest request_to(const BadServer& server) {
  ScoreRequest request;
  request.judge.url = server.url();
  request.judge.model = "judge-1";
  request.judge.key_env = "STRATA_TEST_KEY";
  request.judge.timeout = 0.5;
  request.judge.retries = 1;
  request.judge.retry_base = 0.01;
  return request;
}

class StopAfter final : public Progress {
 public:
  explicit StopAfter(std::int64_t calls) : calls_(calls) {}
  void begin(std::string_view, std::int64_t total) override { total_ = total; }
  void advance(std::int64_t steps) override { done_ += steps; }
  void end() override { ended_ = true; }
  bool stop_requested() const override { return done_ >= calls_; }
  std::int64_t total() const { return total_; }
  std::int64_t done() const { return done_; }
  bool ended() const { return ended_; }

 private:
  std::int64_t calls_;
  std::int64_t total_ = -1, done_ = 0;
  bool ended_ = false;
};

class Score : public ::testing::Test {
 protected:
  Score() : store_(must(Store::open(folder_.file("a.db"), Store::Mode::kReadWrite))) {}

  std::vector<JudgementRow> judgements(const std::string& experiment) {
    EXPECT_THAT(must(store_.check()), IsEmpty());
    return must(store_.judgements_of(experiment));
  }
  // By the question's id: the latest verdict.
  std::map<std::string, std::string> verdicts(const std::string& experiment) {
    std::map<std::string, std::string> out;
    const auto rows = judgements(experiment);
    for (const MemoryAnswer& answer : six_answers())
      for (const JudgementRow& row : rows)
        if (row.sample_id == sha256_hex("memory " + answer.id))
          out[answer.id] = std::string(to_string(row.verdict));
    return out;
  }
  Scored score(const ScoreRequest& request) {
    SilentProgress progress;
    return must(score_responses(store_, request, progress));
  }

  TemporaryFolder folder_;
  Store store_;
};

TEST_F(Score, RecordsWhatTheJudgeSaysOfEachResponse) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest& request) {
    return completion(is_about(request, "q2")   ? "No."
                      : is_about(request, "q3") ? "Well…"
                                                : "yes",
                      "judge-1-2025");
  });
  const Scored scored = score(request_to(server));
  EXPECT_FALSE(scored.error);
  EXPECT_EQ(scored.counts.asked, 6U);
  EXPECT_EQ(scored.counts.yes, 4U);
  EXPECT_EQ(scored.counts.no, 1U);
  EXPECT_EQ(scored.counts.unparsable, 1U);
  EXPECT_EQ(verdicts(experiment), (std::map<std::string, std::string>{{"q1", "yes"},
                                                                      {"q2", "no"},
                                                                      {"q3", "unparsable"},
                                                                      {"q4", "yes"},
                                                                      {"q5", "yes"},
                                                                      {"q6_abs", "yes"}}));
  std::set<std::string> rubrics, prompts, sent;
  for (const JudgementRow& row : judgements(experiment)) {
    EXPECT_EQ(row.judge_model, "judge-1");
    EXPECT_EQ(row.reported_model, "judge-1-2025");
    EXPECT_EQ(row.endpoint, server.host());
    EXPECT_EQ(row.settings_json, R"({"max_tokens":10,"temperature":0.0})");
    EXPECT_EQ(row.attempts, 1);
    EXPECT_GT(row.latency_ms, 0);
    EXPECT_EQ(row.official, row.reply == "yes");
    rubrics.insert(row.rubric);
    prompts.insert(row.prompt_hash);
  }
  EXPECT_THAT(rubrics, ElementsAre("longmemeval/abstention", "longmemeval/answer",
                                   "longmemeval/preference", "longmemeval/temporal-reasoning"));
  for (const ServerRequest& request : server.requests())
    sent.insert(sha256_hex(prompt_of(request)));
  EXPECT_EQ(prompts, sent);
  const auto about = [&](const std::string& id) {
    for (const ServerRequest& request : server.requests())
      if (is_about(request, id)) return prompt_of(request);
    return std::string();
  };
  EXPECT_THAT(about("q4"), HasSubstr("Correct Answer: answer to q4\n\nModel Response: response to "
                                     "q4\n\nIs the model response correct?"));
  EXPECT_THAT(about("q6"), HasSubstr("Explanation: answer to q6_abs\n\nModel Response: "));
}

TEST_F(Score, ScoresNeedlesFromOneToTen) {
  record_memory_run(store_, "memory", six_answers());
  const std::string experiment = record_needle_run(store_, "needle");
  BadServer server([](const ServerRequest& request) {
    const std::string prompt = prompt_of(request);
    return completion(prompt.find("response 0") != std::string::npos   ? "All of it. Rating: [[10]]"
                      : prompt.find("response 1") != std::string::npos ? "[[3]]"
                                                                       : "ten");
  });
  ScoreRequest request = request_to(server);
  request.judge.rubric = RubricSet::kNeedle;
  const Scored scored = score(request);
  EXPECT_FALSE(scored.error);
  EXPECT_EQ(scored.counts.asked, 3U) << "no question of LongMemEval";
  EXPECT_EQ(scored.counts.yes, 1U);
  EXPECT_EQ(scored.counts.no, 1U);
  EXPECT_EQ(scored.counts.unparsable, 1U);
  for (const JudgementRow& row : judgements(experiment)) {
    EXPECT_EQ(row.rubric, "needle");
    EXPECT_EQ(row.settings_json, R"({"temperature":0.0})");
  }
  EXPECT_THAT(prompt_of(server.requests().at(0)),
              HasSubstr("numberical scoreEat a sandwich.Begin your evaluation"));
  EXPECT_THAT(prompt_of(server.requests().at(0)), HasSubstr("[Question]\nWhat is best?\n"));
  request.where = {{"label", "memory"}};
  SilentProgress progress;
  const auto none = score_responses(store_, request, progress);
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().text(), HasSubstr("expected responses of benchmark=niah_grid, got 1"));
}

TEST_F(Score, AsksNothingTwice) {
  record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  ScoreRequest request = request_to(server);
  EXPECT_EQ(score(request).counts.asked, 6U);
  const Scored again = score(request);
  EXPECT_EQ(again.counts.asked, 0U);
  EXPECT_EQ(again.counts.already, 6U);
  EXPECT_EQ(server.requests().size(), 6U);
  // Another judge, other settings and another rubric are other judgements.
  request.judge.model = "judge-2";
  EXPECT_EQ(score(request).counts.asked, 6U);
  request.judge.temperature = 1;
  EXPECT_EQ(score(request).counts.asked, 6U);
  request.judge.rubric = RubricSet::kSwaa;
  EXPECT_EQ(score(request).counts.asked, 6U);
  EXPECT_EQ(server.requests().size(), 24U);
}

TEST_F(Score, CountsFailedCallsApartAndAsksThemAgain) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  std::atomic<bool> well = false;
  const std::map<std::string, Behaviour> trouble = {
      {"q1", {.kind = Kind::kHang}},
      {"q2", {.kind = Kind::kReset}},
      {"q3", with_status(500)},
      {"q4", {.kind = Kind::kHalf, .body = completion("yes").body}},
      {"q5", {.body = "{\"choices\": 1}"}}};
  BadServer server([&](const ServerRequest& request) {
    for (const auto& [id, behaviour] : trouble)
      if (!well && is_about(request, id)) return behaviour;
    return completion("no");
  });
  const Scored scored = score(request_to(server));
  ASSERT_TRUE(scored.error);
  EXPECT_THAT(scored.error->text(), HasSubstr("5 of 6 calls failed; the last: "));
  EXPECT_EQ(scored.counts.failed, 5U);
  EXPECT_EQ(scored.counts.no, 1U);
  for (const JudgementRow& row : judgements(experiment)) {
    if (row.verdict != JudgedAs::kFailed) continue;
    EXPECT_EQ(row.official, std::nullopt);
    EXPECT_EQ(row.attempts, 2);
    EXPECT_NE(row.error, "");
    EXPECT_EQ(row.reply, "");
  }
  well = true;
  const Scored again = score(request_to(server));
  EXPECT_FALSE(again.error);
  EXPECT_EQ(again.counts.already, 1U);
  EXPECT_EQ(again.counts.no, 5U);
  EXPECT_EQ(again.counts.failed, 0U);
  EXPECT_EQ(judgements(experiment).size(), 11U);
}

TEST_F(Score, GoesOnWhereItWasInterrupted) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  ScoreRequest request = request_to(server);
  request.judge.concurrency = 1;
  request.judge.requests_per_minute = 60 / 0.2;  // slower than it is looked whether to stop
  StopAfter progress(2);
  const Scored scored = must(score_responses(store_, request, progress));
  ASSERT_TRUE(scored.error);
  EXPECT_EQ(scored.error->kind, ErrorKind::kInterrupted);
  EXPECT_EQ(progress.total(), 6);
  EXPECT_TRUE(progress.ended());
  const std::size_t judged = scored.counts.asked;
  EXPECT_GE(judged, 2U);
  EXPECT_LT(judged, 6U);
  EXPECT_EQ(judgements(experiment).size(), judged);
  request.judge.requests_per_minute = 0;
  EXPECT_EQ(score(request).counts.asked, 6 - judged);
  EXPECT_EQ(judgements(experiment).size(), 6U);
}

TEST_F(Score, StopsWhereNoCallCanSucceed) {
  record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest&) {
    return with_status(401, {}, R"({"error": {"message": "bad key"}})");
  });
  ScoreRequest request = request_to(server);
  request.judge.concurrency = 1;
  const Scored scored = score(request);
  ASSERT_TRUE(scored.error);
  EXPECT_THAT(scored.error->text(), HasSubstr(server.host() + ": HTTP status 401: bad key"));
  EXPECT_LT(server.requests().size(), 4U);
}

TEST_F(Score, StopsAfterManyFailuresInARow) {
  record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest&) { return with_status(500); });
  ScoreRequest request = request_to(server);
  request.judge.concurrency = 1;
  request.judge.retries = 0;
  request.judge.max_failures = 3;
  const Scored scored = score(request);
  ASSERT_TRUE(scored.error);
  EXPECT_THAT(scored.error->text(),
              HasSubstr("3 calls in a row failed; the last: HTTP status 500"));
  request.judge.max_failures = 0;
  EXPECT_EQ(score(request).counts.failed, 6U);
}

TEST_F(Score, AsksSeveralAtOnceButNoMore) {
  record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest&) {
    Behaviour slow = completion("yes");
    slow.delay = std::chrono::milliseconds(150);
    return slow;
  });
  ScoreRequest request = request_to(server);
  request.judge.timeout = 10;
  request.judge.concurrency = 3;
  EXPECT_EQ(score(request).counts.yes, 6U);
  EXPECT_EQ(server.most_at_once(), 3);
}

TEST_F(Score, NeverAsksAboutAnEmptyResponse) {
  std::vector<MemoryAnswer> answers = six_answers();
  answers[0].response = "  \n";
  answers[1].response = "<think>It was";
  answers[2].response = "<think>It was</think> 19 days";
  answers[3].response.reset();
  const std::string experiment = record_memory_run(store_, "full", answers);
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  const Scored scored = score(request_to(server));
  EXPECT_EQ(scored.counts.empty, 2U);
  EXPECT_EQ(scored.counts.missing, 1U);
  EXPECT_EQ(scored.counts.asked, 3U);
  std::string prompts;
  for (const ServerRequest& request : server.requests()) prompts += prompt_of(request);
  EXPECT_THAT(prompts, HasSubstr("Model Response: 19 days\n"));
  EXPECT_THAT(prompts, Not(HasSubstr("It was")));
  EXPECT_EQ(verdicts(experiment),
            (std::map<std::string, std::string>{
                {"q1", "no"}, {"q2", "no"}, {"q3", "yes"}, {"q5", "yes"}, {"q6_abs", "yes"}}));
  EXPECT_EQ(score(request_to(server)).counts.empty, 0U);
}

TEST_F(Score, TakesTheRunsThatAFilterChooses) {
  record_memory_run(store_, "full", six_answers());
  const std::string chosen = record_memory_run(store_, "chosen", six_answers());
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  ScoreRequest request = request_to(server);
  request.where = {{"label", "chosen"}};
  EXPECT_EQ(score(request).counts.asked, 6U);
  EXPECT_EQ(judgements(chosen).size(), 6U);
  request.where = {{"labl", "chosen"}};
  SilentProgress progress;
  const Result<Scored> wrong = score_responses(store_, request, progress);
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().text(), HasSubstr("no run has a key 'labl'"));
}

TEST_F(Score, OfADryRunAsksNobody) {
  const std::string experiment = record_memory_run(store_, "full", six_answers());
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  ScoreRequest request = request_to(server);
  request.dry_run = true;
  const Scored scored = score(request);
  EXPECT_EQ(summary_line(request.judge, "HOST", scored.counts, true),
            "6 responses would be judged by judge-1 at HOST");
  EXPECT_TRUE(server.requests().empty());
  EXPECT_THAT(judgements(experiment), IsEmpty());
}

TEST_F(Score, NeedsAKeyForAnotherMachine) {
  record_memory_run(store_, "full", six_answers());
  ScoreRequest request;
  request.judge.url = "https://judge.invalid/v1";
  request.judge.model = "judge-1";
  request.judge.key_env = "STRATA_TEST_KEY";
  unsetenv("STRATA_TEST_KEY");
  SilentProgress progress;
  const Result<Scored> refused = score_responses(store_, request, progress);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().text(), HasSubstr("STRATA_TEST_KEY has no key for judge.invalid"));
}

TEST_F(Score, SaysWhereThereIsNothingToJudge) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("b.db"));
  world.run.experiment_id = world.experiment.id;
  must(world.store.update(world.run));
  BadServer server([](const ServerRequest&) { return completion("yes"); });
  SilentProgress progress;
  const Result<Scored> nothing = score_responses(world.store, request_to(server), progress);
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().text(),
              HasSubstr("expected responses to questions of LongMemEval, got 1 experiments"));
}

}  // namespace
}  // namespace strata::test
