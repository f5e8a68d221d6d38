// What happens to histories that do not fit.
#include <set>

#include "benchmarks/truncation_notices.h"
#include "longmemeval_fixture.h"

namespace strata {
namespace {

using nlohmann::json;

TEST_F(LongMemEvalTest, WhatDoesNotFitIsAnErrorUnlessSaidOtherwise) {
  config_.max_tokens = 1500;
  const std::string error = error_of(model_.request(0));
  EXPECT_NE(error.find("benchmark.truncation: question small_"), std::string::npos) << error;
  EXPECT_NE(error.find("within 1500 tokens (benchmark.max_tokens)"), std::string::npos) << error;
  EXPECT_NE(error.find("drop, oldest_sessions or newest_sessions"), std::string::npos) << error;
  config_.max_tokens = 0;
  SampleRequest request = model_.request(0);
  request.max_positions = 1500;
  EXPECT_NE(error_of(request).find("(the model's positions)"), std::string::npos);
  config_.max_tokens = 2000;
  EXPECT_NE(error_of(request).find("benchmark.max_tokens: expected at most 1500"),
            std::string::npos);
}

TEST_F(LongMemEvalTest, DroppedQuestionsAreNamed) {
  config_.questions = MemoryQuestions::kAll;
  const auto whole = drawn();
  std::vector<std::size_t> sizes;
  sizes.reserve(whole.size());
  for (const Sample& sample : whole) sizes.push_back(tokens_with_limit(sample));
  std::sort(sizes.begin(), sizes.end());
  config_.truncation = HistoryTruncation::kDrop;
  config_.max_tokens = static_cast<std::int64_t>(sizes[sizes.size() / 2]);
  const auto samples = drawn();
  std::set<std::string> named;
  std::set<std::string> left;
  for (const Sample& sample : samples) {
    EXPECT_LE(tokens_with_limit(sample), static_cast<std::size_t>(config_.max_tokens));
    EXPECT_EQ(sample.metadata["truncation"]["policy"], "drop");
    EXPECT_EQ(sample.metadata["truncation"]["sessions_left_out"], 0);
    left.insert(sample.metadata["question_id"]);
    for (const char* field : {"dropped_before", "dropped_after"})
      for (const auto& id : sample.metadata["truncation"].value(field, json::array()))
        EXPECT_TRUE(named.insert(id).second);
  }
  for (const Sample& sample : whole) {
    const std::string id = sample.metadata["question_id"];
    const bool fits = tokens_with_limit(sample) <= static_cast<std::size_t>(config_.max_tokens);
    EXPECT_EQ(left.contains(id), fits) << id;
    EXPECT_EQ(named.contains(id), !fits) << id;
  }
  TruncationNotices notices;
  for (const Sample& sample : samples) notices.add(sample.metadata);
  EXPECT_EQ(notices.lines(),
            std::vector<std::string>{fmt::format(
                "{} questions that do not fit were dropped (benchmark.truncation=drop); {} are "
                "asked",
                named.size(), samples.size())});
  // As many as asked for, though some are dropped.
  const auto five = drawn(5);
  ASSERT_EQ(five.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(five[i].id, samples[i].id);
  EXPECT_NE(error_of(model_.request(static_cast<std::int64_t>(samples.size()) + 1))
                .find("benchmark.samples: "),
            std::string::npos);
}

TEST_F(LongMemEvalTest, SessionsAreLeftOutFromOneEndAsFewAsWillDo) {
  config_.questions = MemoryQuestions::kAll;
  const auto whole = drawn();
  int shortened = 0;
  int lost = 0;
  TruncationNotices notices;
  for (const Sample& sample : whole) notices.add(sample.metadata);
  EXPECT_TRUE(notices.lines().empty());
  for (const auto policy : {HistoryTruncation::kOldestSessions, HistoryTruncation::kNewestSessions})
    for (const std::int64_t room : {1200, 1500, 1800}) {
      config_.truncation = policy;
      config_.max_tokens = room;
      for (const Sample& sample : drawn()) {
        const LongMemEvalItem& item = items_.at(sample.metadata["question_id"]);
        const json& said = sample.metadata["truncation"];
        const auto out = said["sessions_left_out"].get<std::size_t>();
        notices.add(sample.metadata);
        EXPECT_LE(tokens_with_limit(sample), static_cast<std::size_t>(room));
        auto order = by_date(item.history);
        ASSERT_EQ(sample.metadata["session_count"], order.size() - out);
        const auto prompt_with = [&](std::size_t left_out) {
          const bool oldest = policy == HistoryTruncation::kOldestSessions;
          const auto cut = static_cast<std::ptrdiff_t>(left_out);
          const std::vector<std::size_t> shown(order.begin() + (oldest ? cut : 0),
                                               order.end() - (oldest ? 0 : cut));
          return reading_prompt(item.history, shown, config_.format, config_.style).text;
        };
        EXPECT_NE(sample.prompt_text.find(prompt_with(out)), std::string::npos);
        if (out == 0) continue;
        ++shortened;
        lost += said["evidence_sessions_left_out"].get<int>();
        // One session more would not have fitted.
        const std::string longer = prompt_with(out - 1);
        const auto frame =
            sample.prompt.size() - model_.tokenizer.encode_plain(prompt_with(out)).size();
        EXPECT_GT(model_.tokenizer.encode_plain(longer).size() + frame + 500,
                  static_cast<std::size_t>(room));
      }
    }
  EXPECT_GT(shortened, 20);
  EXPECT_GT(lost, 0);
  ASSERT_EQ(notices.lines().size(), 1U);
  EXPECT_TRUE(notices.lines()[0].starts_with(
      fmt::format("{} of {} samples lost sessions to fit", shortened, 7 * whole.size())))
      << notices.lines()[0];
  config_.max_tokens = 600;
  EXPECT_NE(error_of(model_.request(0)).find("its last session alone is too long"),
            std::string::npos)
      << error_of(model_.request(0));
}

}  // namespace
}  // namespace strata
