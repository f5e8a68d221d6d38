#include "models/tokenizer/chat_template.h"

#include <gmock/gmock.h>

#include <fstream>
#include <map>
#include <set>

#include "core/sha256.h"
#include "models/tokenizer/known_chat_templates.h"
#include "tests/unit/tokenizer/toy_tokenizer.h"

namespace strata {
namespace {

using testing::ElementsAre;

Tokenizer with_template(const nlohmann::json& chat_template) {
  toy::ModelDirectory directory;
  directory.write("tokenizer.json", toy::document());
  directory.write("tokenizer_config.json", nlohmann::json{{"chat_template", chat_template}});
  return directory.load().value();
}

std::string render(const Tokenizer& tokenizer, std::string_view name,
                   std::vector<ChatMessage> messages, bool prompt) {
  return ChatTemplate::for_model(tokenizer, name).value().render(messages, prompt);
}

TEST(ChatTemplate, Smollm2AddsItsSystemMessageOnlyWhereThereIsNone) {
  const Tokenizer tokenizer = toy::load(toy::document());
  EXPECT_EQ(render(tokenizer, "smollm2", {{"user", "Hi"}}, true),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(tokenizer, "smollm2", {{"system", "S"}, {"user", "Hi"}}, false),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
}

TEST(ChatTemplate, ChatmlAddsNothingAndNoneWritesContentsAlone) {
  const Tokenizer tokenizer = toy::load(toy::document());
  EXPECT_EQ(render(tokenizer, "chatml", {{"user", "Hi"}}, true),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(tokenizer, "none", {{"system", "S "}, {"user", "Hi"}}, true), "S Hi");
}

TEST(ChatTemplate, NamesAreAlphabetical) {
  EXPECT_THAT(ChatTemplate::names(),
              ElementsAre("chatml", "llama3", "llama3.1", "none", "qwen2", "qwen2.5", "qwen3",
                          "qwen3_no_think", "qwen3_thinking_2507", "smollm2"));
}

// Conversations and what transformers renders of them (tools/make_chat_golden.py).
class ChatTemplateGolden : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const char* source = std::getenv("STRATA_SOURCE_DIR");
    std::ifstream file(std::string(source != nullptr ? source : ".") +
                       "/tests/golden/chat_templates.json");
    golden_ = nlohmann::json::parse(file);
    for (const nlohmann::json& conversation : golden_["conversations"]) {
      std::vector<ChatMessage>& messages = conversations_.emplace_back();
      for (const nlohmann::json& message : conversation)
        messages.push_back({message[0], message[1]});
    }
  }

  static inline nlohmann::json golden_;
  static inline std::vector<std::vector<ChatMessage>> conversations_;
};

TEST_F(ChatTemplateGolden, EveryRenderingEqualsThatOfTransformers) {
  const Tokenizer tokenizer = toy::load_for_chats();
  const auto written = golden_["written"].get<std::size_t>();
  ASSERT_GE(written, 40U);
  ASSERT_GE(conversations_.size(), written + 200);
  for (const auto& [name, texts] : golden_["texts"].items()) {
    const ChatTemplate chat = ChatTemplate::for_model(tokenizer, name).value();
    for (std::size_t i = 0; i < written; ++i) {
      EXPECT_EQ(chat.render(conversations_[i], false), texts[i][0]) << name;
      EXPECT_EQ(chat.render(conversations_[i], true), texts[i][1]) << name;
    }
  }
  for (const nlohmann::json& expected : golden_["templates"]) {
    const ChatTemplate chat =
        ChatTemplate::for_model(tokenizer, expected["name"].get<std::string>()).value();
    ASSERT_EQ(expected["hashes"].size(), conversations_.size());
    for (std::size_t i = 0; i < conversations_.size(); ++i) {
      for (const bool prompt : {false, true}) {
        const std::string text = chat.render(conversations_[i], prompt);
        EXPECT_EQ(sha256_hex(text).substr(0, 16), expected["hashes"][i][prompt ? 1 : 0])
            << chat.name() << ", text " << expected["sha256"] << ", conversation " << i << ": "
            << text;
      }
    }
  }
}

TEST_F(ChatTemplateGolden, EveryTextAndEveryNameWasCompared) {
  std::map<std::string, std::string> compared;
  std::set<std::string_view> names = {"none"};  // joins contents, as no checkpoint does
  for (const nlohmann::json& expected : golden_["templates"]) {
    const auto name = expected["name"].get<std::string>();
    if (name != "qwen3_no_think") compared.emplace(expected["sha256"], name);
    names.insert(ChatTemplate::for_model(toy::load_for_chats(), name)->name());
  }
  std::map<std::string, std::string> known;
  for (const ChatTemplateText& text : known_chat_template_texts())
    known.emplace(text.sha256, text.name);
  EXPECT_EQ(compared, known);
  EXPECT_THAT(ChatTemplate::names(), testing::ElementsAreArray(names));
}

TEST(ChatTemplate, ATextIsRecognisedByItsHashAlone) {
  EXPECT_EQ(
      ChatTemplate::recognise("a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8"),
      "qwen3");
  EXPECT_EQ(ChatTemplate::recognise(sha256_hex("{{ messages }}")), std::nullopt);
}

TEST(ChatTemplate, LlamaBeginsWithTheModelsOwnBos) {
  EXPECT_EQ(render(toy::load_for_chats(), "llama3", {{"user", " Hi "}}, true),
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  nlohmann::json config = {{"bos_token", "hello"}};
  EXPECT_TRUE(render(toy::load_for_chats(config), "llama3.1", {{"user", ""}}, false)
                  .starts_with("hello<|"));
  const Result<ChatTemplate> none =
      ChatTemplate::for_model(toy::load_for_chats(nlohmann::json::object()), "llama3");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().text(),
            "chat_template=llama3 begins with BOS, and the model's tokenizer_config.json names none"
            "\n  hint: set bos_token there");
}

TEST(ChatTemplate, Llama31WritesAFixedDate) {
  EXPECT_EQ(render(toy::load_for_chats(), "llama3.1", {{"system", "S"}}, false),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge "
            "Date: December 2023\nToday Date: 26 Jul 2024\n\nS<|eot_id|>");
}

TEST(ChatTemplate, Qwen3WithoutThinkingClosesAnEmptyThought) {
  EXPECT_EQ(render(toy::load_for_chats(), "qwen3", {{"user", "Hi"}}, true),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(toy::load_for_chats(), "qwen3_no_think", {{"user", "Hi"}}, true),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
}

TEST(ChatTemplate, NoConversationAndBytesThatAreNotUtf8CrashNothing) {
  const std::string broken = "\xE3\x80 x \xE3\x80\x80\xF0\x9F";
  for (const std::string_view name : ChatTemplate::names()) {
    render(toy::load_for_chats(), name, {}, true);
    EXPECT_NE(render(toy::load_for_chats(), name, {{"assistant", broken}}, true).find(broken),
              std::string::npos)
        << name;
  }
}

constexpr const char* kHint =
    "\n  hint: name one: chat_template=chatml, llama3, llama3.1, none, qwen2, qwen2.5, qwen3, "
    "qwen3_no_think, qwen3_thinking_2507, smollm2; chatml serves most others, none writes no "
    "markup";

TEST(ChatTemplate, AnUnknownTextIsAnErrorThatNamesTheSettingAndTheTemplates) {
  const Result<ChatTemplate> unknown =
      ChatTemplate::for_model(with_template("{{ messages }}"), "model");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(unknown.error().text(),
            std::string("the model's chat template is not one we know; its text has SHA-256 "
                        "f24189f08c85a1eb19a737306c3a13e85462ee33d964f28108d64a2485fa2171") +
                kHint);
}

TEST(ChatTemplate, AModelWithoutATemplateIsAnErrorUnlessOneIsNamed) {
  const Tokenizer tokenizer = toy::load(toy::document());
  const Result<ChatTemplate> missing = ChatTemplate::for_model(tokenizer, "model");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().text(),
            std::string("the model's directory has no chat template") + kHint);
  EXPECT_EQ(ChatTemplate::for_model(tokenizer, "chatml")->name(), "chatml");
}

TEST(ChatTemplate, AnUnknownNameIsAnError) {
  const Result<ChatTemplate> unknown = ChatTemplate::for_model(toy::load(toy::document()), "chatm");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().text(),
            "chat_template: expected model, chatml, llama3, llama3.1, none, qwen2, qwen2.5, qwen3, "
            "qwen3_no_think, qwen3_thinking_2507, smollm2; got chatm");
}

TEST(ChatTemplate, ATemplateWhoseTokensTheModelLacksIsAnError) {
  const Result<ChatTemplate> lacking = ChatTemplate::for_model(toy::load(toy::document()), "qwen3");
  ASSERT_FALSE(lacking);
  EXPECT_EQ(lacking.error().text(),
            "chat_template=qwen3 writes the token <think>, which the model's tokenizer does not "
            "have\n  hint: name the template that the model was trained with, or none");
}

}  // namespace
}  // namespace strata
