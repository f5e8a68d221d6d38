// What conversions are trained on, with a tiny model and its byte-level tokenizer.
#include "runner/training_text.h"

#include <gtest/gtest.h>

#include "runner/training.h"
#include "tests/crash/tiny_model.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

class TrainingTextTest : public ::testing::Test {
 protected:
  TrainingTextTest() {
    testing::write_tiny_model(folder_.path() / "model");
    config_.model.path = (folder_.path() / "model").string();
    config_.model.chat_template = "none";
    config_.text.path = (folder_.path() / "text").string();
    std::filesystem::create_directories(config_.text.path);
    for (const char* name : {"a.txt", "b.txt", "c.txt"})
      testing::write_file(folder_.path() / "text" / name, std::string(50, name[0] == 'a'   ? 'x'
                                                                          : name[0] == 'b' ? 'y'
                                                                                           : 'z'));
    model_ = *Model::load(config_.model.path, {});
  }

  Result<TextStream> read(std::int64_t wanted, std::int64_t longest = 10) {
    MeteredModel metered(*model_);
    const Result<TextTools> tools = load_text_tools(config_.model);
    auto stream = read_text_stream(config_, *tools, wanted, longest, folder_.path() / "state",
                                   metered, silent_);
    forward_tokens_ = metered.meter().forward_tokens;
    seconds_ = metered.meter().seconds;
    return stream;
  }

  std::size_t tokens_in(std::string_view text) const {
    return (*load_text_tools(config_.model)).tokenizer.encode_plain(text).size();
  }

  testing::TemporaryDirectory folder_;
  ConvertConfig config_;
  std::unique_ptr<Model> model_;
  SilentProgress silent_;
  double forward_tokens_ = 0, seconds_ = 0;
};

TEST(TextsOfTest, TextsFollowEachOtherBehindThePrefix) {
  const TextStream stream{.tokens = {1, 2, 3, 4, 5, 6, 7}, .prefix = {9}, .source = {}};
  EXPECT_EQ(texts_of(stream, 4), (std::vector<Tokens>{{9, 1, 2, 3}, {9, 4, 5, 6}}));
  EXPECT_EQ(texts_of(stream, 8), (std::vector<Tokens>{{9, 1, 2, 3, 4, 5, 6, 7}}));
  EXPECT_TRUE(texts_of(stream, 9).empty());
}

TEST_F(TrainingTextTest, DocumentsStandOneBehindTheOtherUntilThereAreEnough) {
  const auto all = read(1000);
  ASSERT_TRUE(all) << all.error().text();
  EXPECT_EQ(all->tokens.size(), 3 * 51);  // a byte a token, and what ends generation
  EXPECT_EQ(all->tokens[50], 264);
  EXPECT_EQ(all->source["documents"], 3);
  EXPECT_EQ(all->source["tokens"], 153);
  const auto some = read(60);
  EXPECT_EQ(some->source["documents"], 2);
  EXPECT_EQ(some->tokens, Tokens(all->tokens.begin(), all->tokens.begin() + 102));
  EXPECT_NE(some->source["id"], all->source["id"]);
  EXPECT_EQ(read(1000)->source["id"], all->source["id"]);
}

TEST_F(TrainingTextTest, WhatTheTeacherWroteIsWrittenOnce) {
  config_.text.source = "teacher";
  config_.text.sample_batch = 2;
  const auto once = read(35);
  ASSERT_TRUE(once) << once.error().text();
  EXPECT_EQ(once->tokens.size(), 40);
  EXPECT_EQ(once->source["texts"], 4);
  EXPECT_EQ(forward_tokens_, 4 * 9);
  const double seconds = seconds_;
  const auto again = read(35);
  EXPECT_EQ(again->tokens, once->tokens);
  EXPECT_EQ(forward_tokens_, 4 * 9);  // what it had cost: the very seconds
  EXPECT_EQ(seconds_, seconds);
  // More of it begins with what is there.
  const auto more = read(60);
  EXPECT_EQ(Tokens(more->tokens.begin(), more->tokens.begin() + 40), once->tokens);
  EXPECT_EQ(forward_tokens_, 6 * 9);

  config_.text.temperature = 0.5;
  const auto other = read(35);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().text().find("delete it to have the text written anew"),
            std::string::npos);
}

TEST_F(TrainingTextTest, SessionsThatAreEvaluatedAreLeftOut) {
  const auto item = [](const std::string& words) {
    return R"({"haystack_sessions": [[{"role": "user", "content": ")" + words + R"("}]]})";
  };
  const std::string folder = folder_.path().string();
  testing::write_file(folder + "/train.json", "[" + item("xyz") + "," + item("zyx") + "]");
  testing::write_file(folder + "/test.json", "[" + item("zyx") + "]");
  config_.data = folder;
  config_.text.source = "sessions";
  config_.text.path = "train.json";
  config_.text.exclude = {"test.json"};
  const auto stream = read(1000);
  ASSERT_TRUE(stream) << stream.error().text();
  EXPECT_EQ(stream->source["documents"], 1);
  EXPECT_EQ(stream->source["sessions_evaluated"], 1);
  EXPECT_EQ(stream->source["session_ids"].size(), 1);
  EXPECT_EQ(stream->tokens.size(), tokens_in("user: xyz") + 1);
  config_.text.exclude = {"test.json", "train.json"};
  const auto none = read(1000);
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().text().find("expected text to train on, got none"), std::string::npos);
}

TEST_F(TrainingTextTest, ASessionThatWasTrainedOnIsNotEvaluated) {
  const auto model = folder_.path() / "trained";
  std::filesystem::create_directories(model);
  Sample sample;
  sample.id = "5a";
  sample.metadata = {{"session_ids", {"aa", "bb"}}};
  EXPECT_TRUE(check_not_trained_on(model, {sample}));  // not made by strata
  for (const char* transform :
       {R"({"text": {"session_ids": ["cc", "bb"]}})", R"({"session_ids": ["bb"]})"}) {
    testing::write_file(model / "strata.json", fmt::format(R"({{"transform": {}}})", transform));
    const Status refused = check_not_trained_on(model, {sample});
    ASSERT_FALSE(refused) << transform;
    EXPECT_EQ(refused.error().message,
              "the model was trained on chat session bb, which evaluated sample 5a holds");
  }
  testing::write_file(model / "strata.json",
                      R"({"transform": {"text": {"session_ids": ["cc"]}, "samples": ["6b"]}})");
  EXPECT_TRUE(check_not_trained_on(model, {sample}));
  sample.id = "6b";
  EXPECT_FALSE(check_not_trained_on(model, {sample}));
}

TEST_F(TrainingTextTest, ASeparatorIsAToken) {
  config_.text.separator = "</no>";
  const auto stream = read(10);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().text(),
            "text.separator: expected the text of an added token, got '</no>'");
}

}  // namespace
}  // namespace strata
