#include "models/tokenizer/chat_template.h"

#include <algorithm>
#include <iterator>

#include "core/sha256.h"

namespace strata {
namespace {

std::string chatml(std::span<const ChatMessage> messages, bool add_generation_prompt) {
  std::string out;
  for (const ChatMessage& message : messages) {
    out += "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n";
  }
  if (add_generation_prompt) out += "<|im_start|>assistant\n";
  return out;
}

std::string smollm2(std::span<const ChatMessage> messages, bool add_generation_prompt) {
  const bool needs_system = !messages.empty() && messages.front().role != "system";
  const std::string system =
      needs_system ? "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by "
                     "Hugging Face<|im_end|>\n"
                   : "";
  return system + chatml(messages, add_generation_prompt);
}

std::string contents(std::span<const ChatMessage> messages, bool /*add_generation_prompt*/) {
  std::string out;
  for (const ChatMessage& message : messages) out += message.content;
  return out;
}

struct Known {
  std::string_view name;
  std::string (*renderer)(std::span<const ChatMessage>, bool);
  std::string_view needs;   // an added token it writes; "": none
  std::string_view sha256;  // of the Jinja text of the checkpoints that carry it; "": by name only
};

// Alphabetical.
constexpr Known kKnown[] = {
    {"chatml", chatml, "<|im_start|>", ""},
    {"none", contents, "", ""},
    {"smollm2", smollm2, "<|im_start|>",
     "872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788"},
};

std::string name_list() {
  std::string list;
  for (const Known& known : kKnown) list.append(list.empty() ? "" : ", ").append(known.name);
  return list;
}

Error unknown(std::string what) {
  return Error{
      ErrorKind::kUnsupported, std::move(what), {}, "name one: chat_template=" + name_list()};
}

}  // namespace

Result<ChatTemplate> ChatTemplate::for_model(const Tokenizer& tokenizer,
                                             std::string_view override_name) {
  const Known* found = std::end(kKnown);
  if (override_name == "model") {
    const std::optional<std::string>& text = tokenizer.chat_template_text();
    if (!text) return fail(unknown("the model's directory has no chat template"));
    const std::string sha256 = sha256_hex(*text);
    found = std::find_if(std::begin(kKnown), std::end(kKnown),
                         [&](const Known& known) { return known.sha256 == sha256; });
    if (found == std::end(kKnown)) {
      return fail(
          unknown("the model's chat template is not one we know; its text has SHA-256 " + sha256));
    }
  } else {
    found = std::find_if(std::begin(kKnown), std::end(kKnown),
                         [&](const Known& known) { return known.name == override_name; });
    if (found == std::end(kKnown)) {
      return fail(ErrorKind::kInvalidArgument, "chat_template: expected model, {}; got {}",
                  name_list(), override_name);
    }
  }
  if (!found->needs.empty() && !tokenizer.token_id(found->needs)) {
    return fail(ErrorKind::kInvalidArgument,
                "chat_template={} writes the token {}, which the model's tokenizer does not have",
                found->name, found->needs);
  }
  return ChatTemplate(found->name, found->renderer);
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 bool add_generation_prompt) const {
  return renderer_(messages, add_generation_prompt);
}

std::vector<std::string_view> ChatTemplate::names() {
  std::vector<std::string_view> names;
  for (const Known& known : kKnown) names.push_back(known.name);
  return names;
}

}  // namespace strata
