// ChatTemplate: how a checkpoint writes a conversation as text.
//
// Templates are known by name and written in C++; a model's own (Jinja) template is recognised by
// the SHA-256 of its text and never executed. The text carries its special tokens (BOS too, where
// the template has it), so encode it with Tokenizer::encode. An answer prefix is appended by the
// caller right after render(..., true).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  // `override_name`: "model" recognises the directory's template (an unknown or missing one is an
  // error that names `chat_template=` and the known names), "none" joins contents without markup,
  // else a template's name.
  static Result<ChatTemplate> for_model(const Tokenizer& tokenizer, std::string_view override_name);

  // The conversation, with the default system message where the template adds one;
  // `add_generation_prompt` appends the assistant's header.
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt) const;

  std::string_view name() const { return name_; }  // "none", "smollm2", …
  bool is_none() const { return name_ == "none"; }

  static std::vector<std::string_view>
  names();  // what chat_template= accepts besides "model", alphabetical

 private:
  using Renderer = std::string (*)(std::span<const ChatMessage>, bool);
  ChatTemplate(std::string_view name, Renderer renderer) : name_(name), renderer_(renderer) {}
  std::string_view name_;  // of static storage
  Renderer renderer_;
};

}  // namespace strata
