#include "benchmarks/jsonl.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <set>

#include "fixture.h"

namespace strata {
namespace {

TEST(Jsonl, BadLinesAreRefusedWithFileLineAndField) {
  const std::string good = R"({"id": "a", "prompt": "p", "answer": "x"})";
  const std::string hint = "\n  hint: put data of your own under \"metadata\"";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"id": "b", "prompt": "p")", "invalid JSON at byte 26"},
      {R"(["b"])", "expected a JSON object, got a list"},
      {R"(7)", "expected a JSON object, got a number"},
      {R"({"prompt": "p", "answer": "x"})", "field 'id': expected a string, got none"},
      {R"({"id": 7, "prompt": "p", "answer": "x"})", "field 'id': expected a string, got a number"},
      {R"({"id": "", "prompt": "p", "answer": "x"})",
       "field 'id': expected a string, got an empty string"},
      {R"({"id": "a", "prompt": "p", "answer": "x"})",
       "field 'id': expected an id of its own, got 'a', which line 1 has too"},
      {R"({"id": "b", "answer": "x"})",
       "field 'prompt': expected either prompt or messages, got neither"},
      {R"({"id": "b", "prompt": "p", "messages": [], "answer": "x"})",
       "field 'messages': expected either prompt or messages, got both"},
      {R"({"id": "b", "prompt": "", "answer": "x"})",
       "field 'prompt': expected a string, got an empty string"},
      {R"({"id": "b", "prompt": null, "answer": "x"})",
       "field 'prompt': expected a string, got null"},
      {R"({"id": "b", "messages": [], "answer": "x"})",
       "field 'messages': expected a list of 1 to 10000 messages, got an empty list"},
      {R"({"id": "b", "messages": [{"role": "user"}], "answer": "x"})",
       "field 'messages[0]': expected an object with role and content, got {\"role\":\"user\"}"},
      {R"({"id": "b", "messages": [{"role": "bot", "content": "c"}], "answer": "x"})",
       "field 'messages[0].role': expected system, user or assistant, got \"bot\""},
      {R"({"id": "b", "messages": [{"role": "user", "content": 1}], "answer": "x"})",
       "field 'messages[0].content': expected a string, got a number"},
      {R"({"id": "b", "messages": [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}], "answer": "x"})",
       "field 'messages[1].role': expected the last message from the user, got \"assistant\""},
      {R"({"id": "b", "prompt": "p"})",
       "field 'answer': expected a string or a list of strings, got none"},
      {R"({"id": "b", "prompt": "p", "answer": 3})",
       "field 'answer': expected a string or a list of strings, got a number"},
      {R"({"id": "b", "prompt": "p", "answer": ""})",
       "field 'answer': expected a string or a list of strings, got an empty string"},
      {R"({"id": "b", "prompt": "p", "answer": []})",
       "field 'answer': expected a string or a list of strings, got an empty list"},
      {R"({"id": "b", "prompt": "p", "answer": ["x", false]})",
       "field 'answer[1]': expected a string, got a boolean"},
      {R"({"id": "b", "prompt": "p", "answer": "x", "split": "train"})",
       "field 'split': expected calibration, development or test, got \"train\""},
      {R"({"id": "b", "prompt": "p", "answer": "x", "split": 1})",
       "field 'split': expected calibration, development or test, got a number"},
      {R"({"id": "b", "prompt": "p", "answer": "x", "metadata": 1})",
       "field 'metadata': expected an object, got a number"},
      {R"({"id": "b", "prompt": "p", "answer": "x", "answers": "y"})",
       "field 'answers': expected id, prompt, messages, answer, split or metadata, got an unknown "
       "field" +
           hint},
      {R"({"id": "b", "prompt": "p", "prompt": "q", "answer": "x"})",
       "field 'prompt': expected the field once, got it twice"},
      {"{\"id\": \"b\", \"prompt\": \"\xff\", \"answer\": \"x\"}",
       "expected UTF-8, byte 24 of the line is not"},
  };
  for (const auto& [line, message] : cases) {
    const auto items = parse_jsonl(fmt::format("{}\n\n{}\n", good, line), "my.jsonl");
    ASSERT_FALSE(items.has_value()) << line;
    EXPECT_EQ(items.error().text(), "my.jsonl:3: " + message) << line;
  }
  EXPECT_EQ(parse_jsonl("\n \n", "my.jsonl").error().text(),
            "my.jsonl: expected a JSON object a line, got no line");
  const std::string deep = R"({"id": "b", "prompt": "p", "answer": "x", "metadata": {"m": )" +
                           std::string(100, '[') + std::string(100, ']') + "}}";
  EXPECT_EQ(parse_jsonl(deep, "d").error().text(),
            "d:1: expected at most 64 levels of nesting, got more");
}

class JsonlFile : public testing::Test {
 protected:
  Result<std::vector<Sample>> samples(const SampleRequest& request, JsonlConfig config = {}) const {
    config.path = (directory_.path() / "q.jsonl").string();
    return make_jsonl(config)->samples(request);
  }
  std::string place(int line) const {
    return fmt::format("{}:{}", (directory_.path() / "q.jsonl").string(), line);
  }

  const TempDir directory_;
  const Model model_ = small_model();
};

TEST_F(JsonlFile, PromptAndAnswerAreUsedByteForByte) {
  directory_.write(
      "q.jsonl",
      R"({"id": "one", "prompt": "The grass is", "answer": [" green", "verde"], "split": "test", "metadata": {"k": 1}})"
      "\r\n"
      R"({"id": "two", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "answer": "sky", "split": "test"})");
  auto made = samples(model_.request(0), {.chat_template = PromptTemplate::kNone});
  ASSERT_TRUE(made.has_value()) << made.error().text();
  ASSERT_EQ(made->size(), 2U);
  const Sample& one = (*made)[0].metadata["id"] == "one" ? (*made)[0] : (*made)[1];
  EXPECT_EQ(one.prompt_text, "The grass is");
  EXPECT_EQ(model_.tokenizer.decode(one.prompt), "The grass is");
  EXPECT_EQ(model_.tokenizer.decode(one.answer), " green");
  EXPECT_EQ(one.answers, (std::vector<std::string>{" green", "verde"}));
  EXPECT_EQ(one.answer_given, "");
  EXPECT_EQ(one.metadata["metadata"]["k"], 1);
  EXPECT_EQ(one.metadata["line"], 1);

  made = samples(model_.request(0));
  ASSERT_TRUE(made.has_value()) << made.error().text();
  const Sample& two = (*made)[0].metadata["id"] == "two" ? (*made)[0] : (*made)[1];
  EXPECT_EQ(
      two.prompt_text,
      "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(two.prompt, model_.tokenizer.encode(two.prompt_text));
  EXPECT_EQ(model_.tokenizer.decode(two.answer), "sky");
}

TEST_F(JsonlFile, ABlankAnswerTokenStaysWhereTheUserPutIt) {
  directory_.write("q.jsonl",
                   R"({"id": "one", "prompt": "It is", "answer": " 12", "split": "test"})");
  const auto made = samples(model_.request(1), {.chat_template = PromptTemplate::kNone});
  ASSERT_TRUE(made.has_value()) << made.error().text();
  EXPECT_EQ(made->at(0).prompt_text, "It is");
  EXPECT_EQ(made->at(0).answer.size(), 3U);  // a bare space and two digits
  EXPECT_EQ(made->at(0).answer_given, "");
}

TEST_F(JsonlFile, OneBadLineAnywhereImportsNothing) {
  directory_.write("q.jsonl", R"({"id": "one", "prompt": "p", "answer": "x", "split": "test"})"
                              "\n{\n");
  const auto made = samples(model_.request(1));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text(), place(2) + ": invalid JSON at byte 2");
}

TEST_F(JsonlFile, SplitsAreTheFilesOrFortyTwentyFortyByHash) {
  std::string text;
  for (int i = 0; i < 1000; ++i)
    text += fmt::format(R"({{"id": "item {}", "prompt": "p{}", "answer": "x"}})", i, i) + "\n";
  directory_.write("q.jsonl", text);
  std::set<std::string> ids;
  std::vector<std::size_t> sizes;
  for (const Split split : {Split::kCalibration, Split::kDevelopment, Split::kTest}) {
    const auto made = samples(model_.request(0, 1, split));
    ASSERT_TRUE(made.has_value()) << made.error().text();
    sizes.push_back(made->size());
    for (const Sample& sample : *made) ids.insert(sample.metadata["id"].get<std::string>());
  }
  EXPECT_EQ(ids.size(), 1000U);
  EXPECT_NEAR(static_cast<double>(sizes[0]), 400, 60);
  EXPECT_NEAR(static_cast<double>(sizes[1]), 200, 60);
  EXPECT_NEAR(static_cast<double>(sizes[2]), 400, 60);
  const auto few = samples(model_.request(5, 3)).value();
  const auto more = samples(model_.request(9, 3)).value();
  for (std::size_t i = 0; i < few.size(); ++i) EXPECT_EQ(few[i].id, more[i].id);
  EXPECT_NE(few[0].id, samples(model_.request(5, 4)).value()[0].id);
}

TEST_F(JsonlFile, TheSamePromptInTwoSplitsIsRefused) {
  directory_.write("q.jsonl",
                   R"({"id": "one", "prompt": "same", "answer": "x", "split": "test"})"
                   "\n"
                   R"({"id": "two", "prompt": "same", "answer": "y", "split": "calibration"})");
  const Status status = check_disjoint(samples(model_.request(0, 1, Split::kCalibration)).value(),
                                       samples(model_.request(0)).value());
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("share the whole prompt"), std::string::npos)
      << status.error().text();
}

TEST_F(JsonlFile, WhatDoesNotFitIsRefusedNotCut) {
  directory_.write(
      "q.jsonl",
      "\n"
      R"({"id": "one", "prompt": "11111111111111111111", "answer": "12", "split": "test"})");
  SampleRequest request = model_.request(1);
  request.max_positions = 29;
  const auto made = samples(request, {.chat_template = PromptTemplate::kNone});
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text(),
            place(2) +
                ": expected prompt and generation within 29 tokens (the model's positions), "
                "got 20 + 10\n  hint: shorten the prompt; nothing is cut off silently");
  request.max_positions = 30;
  EXPECT_TRUE(samples(request, {.chat_template = PromptTemplate::kNone}).has_value());
  const auto many = samples(model_.request(2));
  ASSERT_FALSE(many.has_value());
  EXPECT_EQ(many.error().message, "the test split has 1 of the file's 1 items, asked for 2");
}

TEST_F(JsonlFile, GzipIsReadAndACutOneRefused) {
  const std::string line = R"({"id": "one", "prompt": "p", "answer": "x", "split": "test"})";
  const auto path = directory_.path() / "q.jsonl.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_EQ(gzwrite(file, line.data(), static_cast<unsigned>(line.size())),
            static_cast<int>(line.size()));
  gzclose(file);
  const auto benchmark = make_jsonl({.path = path.string()});
  ASSERT_TRUE(benchmark->samples(model_.request(1)).has_value());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 6);
  const auto cut = benchmark->samples(model_.request(1));
  ASSERT_FALSE(cut.has_value());
  EXPECT_TRUE(cut.error().text().starts_with(path.string() + ": damaged or cut off: "))
      << cut.error().text();
  std::filesystem::remove(path);
  EXPECT_EQ(benchmark->samples(model_.request(1)).error().text(),
            path.string() + ": expected a file here, found none");
}

TEST_F(JsonlFile, APackedFileThatBurstsIsRefused) {
  const auto path = directory_.path() / "q.jsonl.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  const std::string blank(1U << 20U, '\n');
  for (int i = 0; i < 20; ++i)
    ASSERT_EQ(gzwrite(file, blank.data(), static_cast<unsigned>(blank.size())), 1 << 20);
  gzclose(file);
  const auto made = make_jsonl({.path = path.string()})->samples(model_.request(0));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().text(),
            path.string() + ": expected at most 16777216 bytes unpacked, got more");
}

}  // namespace
}  // namespace strata
