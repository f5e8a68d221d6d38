#include "models/tokenizer/chat_template.h"

#include <algorithm>

#include "core/sha256.h"
#include "models/tokenizer/known_chat_templates.h"

namespace strata {
namespace {

const KnownChatTemplate* find_known(std::string_view name) {
  for (const KnownChatTemplate& known : known_chat_templates())
    if (known.name == name) return &known;
  return nullptr;
}

std::string name_list() { return fmt::format("{}", fmt::join(ChatTemplate::names(), ", ")); }

Error unknown(std::string what) {
  return make_error(ErrorKind::kUnsupported, "{}", std::move(what))
      .with_hint(fmt::format("name one: chat_template={}; chatml serves most others, none writes "
                             "no markup",
                             name_list()));
}

// The directory's own template.
Result<const KnownChatTemplate*> recognised(const Tokenizer& tokenizer) {
  const std::optional<std::string>& text = tokenizer.chat_template_text();
  if (!text) return fail(unknown("the model's directory has no chat template"));
  const std::string sha256 = sha256_hex(*text);
  const std::optional<std::string_view> name = ChatTemplate::recognise(sha256);
  if (name) return find_known(*name);
  return fail(
      unknown("the model's chat template is not one we know; its text has SHA-256 " + sha256));
}

}  // namespace

Result<ChatTemplate> ChatTemplate::for_model(const Tokenizer& tokenizer,
                                             std::string_view override_name) {
  const KnownChatTemplate* known = find_known(override_name);
  if (override_name == "model") {
    ASSIGN_OR_RETURN(known, recognised(tokenizer));
  } else if (known == nullptr) {
    return fail(ErrorKind::kInvalidArgument, "chat_template: expected model, {}; got {}",
                name_list(), override_name);
  }
  for (const std::string_view token : known->tokens) {
    if (!tokenizer.token_id(token)) {
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "chat_template={} writes the token {}, which the model's tokenizer "
                             "does not have",
                             known->name, token)
                      .with_hint("name the template that the model was trained with, or none"));
    }
  }
  if (!known->writes_bos) return ChatTemplate(*known, "");
  if (!tokenizer.bos()) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "chat_template={} begins with BOS, and the model's "
                           "tokenizer_config.json names none",
                           known->name)
                    .with_hint("set bos_token there"));
  }
  return ChatTemplate(*known, std::string(tokenizer.token_bytes(*tokenizer.bos())));
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages,
                                 bool add_generation_prompt) const {
  return known_->renderer(messages, add_generation_prompt, bos_);
}

std::string_view ChatTemplate::name() const { return known_->name; }

std::vector<std::string_view> ChatTemplate::names() {
  std::vector<std::string_view> names;
  for (const KnownChatTemplate& known : known_chat_templates()) names.push_back(known.name);
  return names;
}

std::optional<std::string_view> ChatTemplate::recognise(std::string_view sha256) {
  for (const ChatTemplateText& text : known_chat_template_texts())
    if (text.sha256 == sha256) return text.name;
  return std::nullopt;
}

}  // namespace strata
