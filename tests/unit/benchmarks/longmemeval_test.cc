#include "benchmarks/longmemeval.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "benchmarks/longmemeval_date.h"
#include "benchmarks/longmemeval_file.h"
#include "benchmarks/longmemeval_prompt.h"
#include "benchmarks/registry.h"
#include "benchmarks/truncation_notices.h"
#include "fixture.h"

namespace strata {
namespace {

using nlohmann::json;

std::filesystem::path golden() {
  const char* source = std::getenv("STRATA_SOURCE_DIR");
  return std::filesystem::absolute(std::filesystem::path(source == nullptr ? "." : source) /
                                   "tests/golden/longmemeval_small.json");
}

std::map<std::string, LongMemEvalItem> read_items(const std::filesystem::path& path) {
  auto reader = LongMemEvalReader::open(path);
  STRATA_CHECK(reader.has_value(), "{}", reader.error().text());
  std::map<std::string, LongMemEvalItem> items;
  while (true) {
    auto next = reader->next();
    STRATA_CHECK(next.has_value(), "{}", next.error().text());
    if (!*next) return items;
    const std::string id = (*next)->id;
    items.emplace(id, **std::move(next));
  }
}

class LongMemEvalTest : public testing::Test {
 protected:
  LongMemEvalTest() { config_.path = golden().string(); }

  Result<std::vector<Sample>> draw(const SampleRequest& request) const {
    return make_longmemeval(config_)->samples(request);
  }
  std::vector<Sample> drawn(std::int64_t count = 0, std::uint64_t seed = 1,
                            Split split = Split::kTest) const {
    auto samples = draw(model_.request(count, seed, split));
    STRATA_CHECK(samples.has_value(), "{}", samples.error().text());
    return *std::move(samples);
  }
  std::string error_of(const SampleRequest& request) const {
    const auto samples = draw(request);
    return samples ? "none" : samples.error().text();
  }
  const Sample& find(const std::vector<Sample>& samples, const std::string& id) const {
    for (const Sample& sample : samples)
      if (sample.metadata["question_id"] == id) return sample;
    STRATA_CHECK(false, "no {}", id);
    return samples.front();
  }
  std::size_t tokens_with_limit(const Sample& sample) const {
    return sample.prompt.size() + sample.metadata["generation_limit"].get<std::size_t>();
  }

  LongMemEvalConfig config_;
  const std::map<std::string, LongMemEvalItem> items_ = read_items(golden());
  static const Model& shared_model() {
    static const Model kModel = small_model();
    return kModel;
  }
  const Model& model_ = shared_model();
};

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

TEST_F(LongMemEvalTest, PromptIsThePublishedOneAndTheAnswerFollowsIt) {
  config_.questions = MemoryQuestions::kAll;
  config_.items = MemoryItems::kAll;
  const auto samples = drawn();
  ASSERT_EQ(samples.size(), items_.size());
  for (const Sample& sample : samples) {
    const LongMemEvalItem& item = items_.at(sample.metadata["question_id"]);
    const std::string prompt = reading_prompt(item.history, by_date(item.history),
                                              HistoryFormat::kJson, ReadingStyle::kDirect)
                                   .text;
    EXPECT_EQ(sample.prompt_text,
              "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
              "Face<|im_end|>\n<|im_start|>user\n" +
                  prompt + "<|im_end|>\n<|im_start|>assistant\n");
    EXPECT_EQ(model_.tokenizer.decode(sample.answer), sample.answers.front());
    EXPECT_EQ(sample.metadata["first_informative_query"], sample.prompt.size() - 1);
    EXPECT_EQ(sample.metadata["session_count"], item.history.sessions.size());
  }
  EXPECT_EQ(find(samples, "small_04").answers.size(), 2U);  // "… is also acceptable"
  EXPECT_EQ(find(samples, "small_00_abs").answers,
            std::vector<std::string>{"The information provided is not enough"});
}

TEST_F(LongMemEvalTest, WithoutAChatTemplateTheAnswerBeginsWithASpace) {
  auto bare = ChatTemplate::for_model(model_.tokenizer, "none");
  ASSERT_TRUE(bare.has_value());
  const Model model{model_.tokenizer, *bare};
  const auto samples = draw(model.request(3));
  ASSERT_TRUE(samples.has_value()) << samples.error().text();
  for (const Sample& sample : *samples)
    EXPECT_EQ(sample.answer_given + model_.tokenizer.decode(sample.answer),
              " " + sample.answers.front());
}

TEST_F(LongMemEvalTest, NoPromptHoldsALabel) {
  const json raw = json::parse(std::ifstream(golden()));
  std::set<std::string> ids;
  for (const json& item : raw) {
    ids.insert(item["question_id"]);
    for (const json& id : item["haystack_session_ids"]) ids.insert(id);
  }
  ASSERT_GT(ids.size(), 100U);
  config_.questions = MemoryQuestions::kAll;
  config_.items = MemoryItems::kAll;
  for (const HistoryFormat format : {HistoryFormat::kJson, HistoryFormat::kNl})
    for (const ReadingStyle style : {ReadingStyle::kDirect, ReadingStyle::kCon})
      for (const std::int64_t sessions : {0, 5}) {
        config_.format = format;
        config_.style = style;
        config_.sessions = sessions;
        for (const Sample& sample : drawn()) {
          const std::string read = model_.tokenizer.decode(sample.prompt);
          for (const std::string* text : {&sample.prompt_text, &read}) {
            EXPECT_EQ(text->find("has_answer"), std::string::npos);
            for (const std::string& id : ids) ASSERT_EQ(text->find(id), std::string::npos) << id;
          }
        }
      }
}

TEST_F(LongMemEvalTest, EvidenceStandsWhereTheMetadataSays) {
  config_.questions = MemoryQuestions::kAll;
  for (const HistoryFormat format : {HistoryFormat::kJson, HistoryFormat::kNl}) {
    config_.format = format;
    SampleRequest request = model_.request(0);
    request.window = 300;
    const auto samples = draw(request);
    ASSERT_TRUE(samples.has_value());
    for (const Sample& sample : *samples) {
      const LongMemEvalItem& item = items_.at(sample.metadata["question_id"]);
      const json& evidence = sample.metadata["evidence"];
      ASSERT_EQ(evidence.size(), item.labels.turns.size());
      const auto order = by_date(item.history);
      std::int64_t nearest = 1 << 30;
      for (const json& entry : evidence) {
        const std::size_t session = order[entry["session"].get<std::size_t>() - 1];
        EXPECT_TRUE(item.labels.sessions[session]);
        EXPECT_EQ(entry["turn"], 3);
        const auto begin = sample.prompt.begin() + entry["tokens"][0].get<std::ptrdiff_t>();
        const auto end = sample.prompt.begin() + entry["tokens"][1].get<std::ptrdiff_t>();
        const std::string text = model_.tokenizer.decode(Tokens(begin, end));
        EXPECT_NE(text.find("By the way, I have just bought"), std::string::npos) << text;
        EXPECT_EQ(entry["distance"], sample.prompt.end() - 1 - end);
        nearest = std::min(nearest, entry["distance"].get<std::int64_t>());
      }
      EXPECT_EQ(sample.metadata["distance"], nearest);
      EXPECT_EQ(sample.metadata["beyond_window"], nearest >= 300);
      EXPECT_GE(sample.metadata["distance_of_farthest"], nearest);
    }
  }
}

TEST_F(LongMemEvalTest, ItemsAndTypesSayWhatIsAsked) {
  config_.questions = MemoryQuestions::kAll;
  const auto count = [&](MemoryItems items, std::vector<QuestionType> types = {}) {
    config_.items = items;
    config_.types = std::move(types);
    return drawn().size();
  };
  EXPECT_EQ(count(MemoryItems::kAll), 43U);
  EXPECT_EQ(count(MemoryItems::kCheckable), 37U);
  EXPECT_EQ(count(MemoryItems::kAnswerable), 30U);
  EXPECT_EQ(count(MemoryItems::kShort), 21U);
  EXPECT_EQ(count(MemoryItems::kAbstention), 7U);
  EXPECT_EQ(count(MemoryItems::kAll, {QuestionType::kSingleSessionPreference}), 6U);
  EXPECT_EQ(count(MemoryItems::kAnswerable,
                  {QuestionType::kKnowledgeUpdate, QuestionType::kMultiSession}),
            12U);
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

TEST_F(LongMemEvalTest, TooManyOrNoQuestionsAreAnError) {
  const std::string error = error_of(model_.request(100));
  EXPECT_NE(error.find("of the file's 43 questions are of the test split"), std::string::npos)
      << error;
  config_.items = MemoryItems::kAbstention;
  config_.types = {QuestionType::kSingleSessionPreference};
  EXPECT_NE(error_of(model_.request(0)).find("0 of the file's 43"), std::string::npos);
  config_.path = "nowhere.json";
  EXPECT_NE(error_of(model_.request(0)).find("set STRATA_DATA"), std::string::npos)
      << error_of(model_.request(0));
}

TEST_F(LongMemEvalTest, AnswersAreCheckedByType) {
  config_.questions = MemoryQuestions::kAll;
  config_.items = MemoryItems::kAll;
  const auto benchmark = make_longmemeval(config_);
  const auto samples = drawn();
  const auto scores = [&](const char* id, const std::string& text) {
    const Sample& sample = find(samples, id);
    Response response{.text = text};
    response.answer_nll.assign(sample.answer.size(), 0.5);
    response.argmax = sample.answer;
    return benchmark->score(sample, response);
  };
  using Metrics = std::map<std::string, double>;
  const std::string count = find(samples, "small_03").answers.front();  // a sum of two sessions
  EXPECT_EQ(scores("small_03", "<think>1? 2?</think>It is " + count + "."),
            (Metrics{{"answer_nll", 0.5},
                     {"gen_contains", 1},
                     {"gen_exact", 0},
                     {"tf_exact", 1},
                     {"unfinished_thought", 0},
                     {"verbatim", 1}}));
  EXPECT_EQ(scores("small_03", "1" + count)["gen_contains"], 0);
  EXPECT_EQ(scores("small_03", "1" + count)["verbatim"], 1);  // "13" contains "3"
  EXPECT_EQ(scores("small_03", "<think>It is " + count)["gen_contains"], 0);
  EXPECT_EQ(scores("small_03", "<think>It is " + count)["unfinished_thought"], 1);
  EXPECT_EQ(scores("small_02", "anything"), (Metrics{{"unscored", 1}, {"unfinished_thought", 0}}));
  EXPECT_EQ(scores("small_00_abs", "You never mentioned ponies.")["gen_contains"], 1);
  EXPECT_EQ(scores("small_00_abs", "Seven ponies.")["gen_contains"], 0);
  const Sample& sample = find(samples, "small_03");
  Response nll;
  nll.answer_nll.assign(sample.answer.size(), 1.0);
  EXPECT_EQ(benchmark->score(sample, nll), (Metrics{{"answer_nll", 1.0}}));
  EXPECT_EQ(benchmark->generation_limit(sample), 500);
  config_.style = ReadingStyle::kCon;
  EXPECT_EQ(make_longmemeval(config_)->generation_limit(drawn(1)[0]), 800);
}

TEST_F(LongMemEvalTest, DataIdIsOfContentAndConfig) {
  const auto id = [&] { return *make_longmemeval(config_)->data_id(model_.request(0)); };
  const std::string first = id();
  const TempDir directory;
  std::ifstream in(golden(), std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  config_.path = directory.write("copy.json", text).string();
  EXPECT_EQ(id(), first);
  config_.path = directory.write("other.json", text + " ").string();
  EXPECT_NE(id(), first);
  config_.path = golden().string();
  config_.sessions = 4;
  EXPECT_NE(id(), first);
}

TEST_F(LongMemEvalTest, TheRegistryBindsItsKeys) {
  const auto made = make_benchmark("longmemeval", config::Value{});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ((*made)->name(), "longmemeval");
}

// What the notes on the published file count.
TEST_F(LongMemEvalTest, PublishedFileHasThePublishedCounts) {
  const char* data = std::getenv("STRATA_DATA");
  if (data == nullptr) GTEST_SKIP() << "set STRATA_DATA to the folder that holds longmemeval/";
  config_ = {};
  SampleRequest request = model_.request(1000);
  request.data_dir = data;
  if (!std::filesystem::exists(request.data_dir / config_.path)) GTEST_SKIP() << "no oracle file";
  config_.questions = MemoryQuestions::kAll;
  const std::vector<std::pair<MemoryItems, int>> counts = {{MemoryItems::kAll, 500},
                                                           {MemoryItems::kCheckable, 470},
                                                           {MemoryItems::kAnswerable, 440},
                                                           {MemoryItems::kShort, 337},
                                                           {MemoryItems::kAbstention, 30}};
  for (const auto& [items, count] : counts) {
    config_.items = items;
    EXPECT_NE(error_of(request).find(fmt::format("{} of the file's 500", count)), std::string::npos)
        << error_of(request);
  }
  // No session is shared by splits where histories are evidence alone.
  config_.questions = MemoryQuestions::kSplit;
  config_.items = MemoryItems::kAll;
  request.count = 30;
  const auto test = draw(request);
  request.split = Split::kCalibration;
  const auto calibration = draw(request);
  ASSERT_TRUE(test && calibration);
  EXPECT_TRUE(check_disjoint(*calibration, *test))
      << check_disjoint(*calibration, *test).error().text();
}

}  // namespace
}  // namespace strata
