// ChatTemplate: how a checkpoint writes a conversation as text.
//
// Templates are known by name and written in C++; a model's own (Jinja) template is recognised by
// the SHA-256 of its text and never executed. The text carries its special tokens (BOS too, where
// the template has it), so encode it with Tokenizer::encode. An answer prefix is appended by the
// caller right after render(..., true).
//
// Nothing depends on the day: where a template writes today's date (Llama 3.2), it is always the
// one that the template has for want of a clock, 26 Jul 2024. Tools and tool calls are not known.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {

struct ChatMessage {
  std::string role;     // "system", "user", "assistant"
  std::string content;  // reasoning within an answer stands between <think> and </think>
};

struct KnownChatTemplate;

class ChatTemplate {
 public:
  // `override_name`: "model" recognises the directory's template (an unknown or missing one is an
  // error that names `chat_template=` and the known names), "none" joins contents without markup,
  // else a template's name.
  static Result<ChatTemplate> for_model(const Tokenizer& tokenizer, std::string_view override_name);

  // The conversation, with the default system message where the template adds one;
  // `add_generation_prompt` appends the assistant's header.
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

  std::string_view name() const;  // "none", "smollm2", …
  bool is_none() const { return name() == "none"; }

  static std::vector<std::string_view>
  names();  // what chat_template= accepts besides "model", alphabetical
  // The name of the template whose Jinja text has this SHA-256, if we know it.
  static std::optional<std::string_view> recognise(std::string_view sha256);

 private:
  ChatTemplate(const KnownChatTemplate& known, std::string bos)
      : known_(&known), bos_(std::move(bos)) {}
  const KnownChatTemplate* known_;  // of static storage
  std::string bos_;
};

}  // namespace strata
