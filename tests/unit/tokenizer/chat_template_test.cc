#include "models/tokenizer/chat_template.h"

#include <gmock/gmock.h>

#include "tests/unit/tokenizer/toy_tokenizer.h"

namespace strata {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

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
  EXPECT_THAT(ChatTemplate::names(), ElementsAre("chatml", "none", "smollm2"));
}

TEST(ChatTemplate, AnUnknownTextIsAnErrorThatNamesTheSettingAndTheTemplates) {
  const Result<ChatTemplate> unknown =
      ChatTemplate::for_model(with_template("{{ messages }}"), "model");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(unknown.error().text(),
            "the model's chat template is not one we know; its text has SHA-256 "
            "f24189f08c85a1eb19a737306c3a13e85462ee33d964f28108d64a2485fa2171\n"
            "  hint: name one: chat_template=chatml, none, smollm2");
}

TEST(ChatTemplate, AModelWithoutATemplateIsAnErrorUnlessOneIsNamed) {
  const Tokenizer tokenizer = toy::load(toy::document());
  const Result<ChatTemplate> missing = ChatTemplate::for_model(tokenizer, "model");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().text(),
            "the model's directory has no chat template\n  hint: name one: chat_template=chatml, "
            "none, smollm2");
  EXPECT_EQ(ChatTemplate::for_model(tokenizer, "chatml")->name(), "chatml");
}

TEST(ChatTemplate, AnUnknownNameIsAnError) {
  const Result<ChatTemplate> unknown = ChatTemplate::for_model(toy::load(toy::document()), "chatm");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().text(),
            "chat_template: expected model, chatml, none, smollm2; got chatm");
}

TEST(ChatTemplate, ATemplateWhoseTokensTheModelLacksIsAnError) {
  nlohmann::json document = toy::document();
  document["added_tokens"] = nlohmann::json::array();
  const Result<ChatTemplate> lacking = ChatTemplate::for_model(toy::load(document), "chatml");
  ASSERT_FALSE(lacking);
  EXPECT_THAT(
      lacking.error().text(),
      HasSubstr("writes the token <|im_start|>, which the model's tokenizer does not have"));
}

}  // namespace
}  // namespace strata
