// The chat templates that are known, each a function, and the Jinja texts that mean the same.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/tokenizer/chat_template.h"

namespace strata {

struct KnownChatTemplate {
  using Renderer = std::string (*)(std::span<const ChatMessage> messages,
                                   bool add_generation_prompt, std::string_view bos);
  std::string_view name;
  Renderer renderer;
  std::span<const std::string_view> tokens;  // added tokens that it writes
  bool writes_bos = false;
};

// The text of a checkpoint's template, by its SHA-256, and the name of the function that renders
// what `transformers` renders of it (tools/make_chat_golden.py).
struct ChatTemplateText {
  std::string_view sha256;
  std::string_view name;
};

std::span<const KnownChatTemplate> known_chat_templates();  // alphabetical
std::span<const ChatTemplateText> known_chat_template_texts();

}  // namespace strata
