#include "benchmarks/longmemeval.h"

#include <fstream>
#include <set>

#include "benchmarks/registry.h"
#include "longmemeval_fixture.h"

namespace strata {
namespace {

using nlohmann::json;

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
  const json raw = json::parse(std::ifstream(longmemeval_golden()));
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
  std::ifstream in(longmemeval_golden(), std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  config_.path = directory.write("copy.json", text).string();
  EXPECT_EQ(id(), first);
  config_.path = directory.write("other.json", text + " ").string();
  EXPECT_NE(id(), first);
  config_.path = longmemeval_golden().string();
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
