// parse_jsonl(): every line checked before any is used.
#include <set>
#include <unordered_map>

#include "benchmarks/bundled_text.h"
#include "benchmarks/jsonl.h"
#include "benchmarks/word_lists.h"
#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxLineBytes = 64U << 20U;
// For their number, which the file's size bounds: with the room that growing vectors have.
constexpr std::size_t kItemBytes = 512;
constexpr std::size_t kMessageBytes = 3 * sizeof(ChatMessage);
constexpr std::size_t kAnswerBytes = 3 * sizeof(std::string);
constexpr std::size_t kMaxAnswers = 1000;
constexpr std::size_t kMaxMessages = 10'000;
constexpr int kMaxDepth = 64;

Error bad_field(std::string_view field, std::string_view expected, std::string_view got) {
  return make_error(ErrorKind::kInvalidFile, "expected {}, got {}", expected, got)
      .at(fmt::format("field '{}'", field));
}

// What a value is, for an error: its kind, or an empty string or list as such.
std::string kind_of(const json& value) {
  if ((value.is_string() && value.get_ref<const std::string&>().empty()) ||
      (value.is_array() && value.empty()))
    return value.is_string() ? "an empty string" : "an empty list";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "an object";
  if (value.is_null()) return "null";
  return fmt::format("a {}", value.type_name());
}

bool is_filled_string(const json& value) {
  return value.is_string() && !value.get_ref<const std::string&>().empty();
}

Result<json> parse_object(std::string_view line, std::size_t max_bytes) {
  ASSIGN_OR_RETURN(json object, parse_json(line, {.depth = kMaxDepth, .tree_bytes = max_bytes}));
  if (!object.is_object())
    return fail(ErrorKind::kInvalidFile, "expected a JSON object, got {}", kind_of(object));
  return object;
}

Status check_field_names(const json& object) {
  static const std::set<std::string_view> kFields = {"id",     "prompt", "messages",
                                                     "answer", "split",  "metadata"};
  for (const auto& [name, value] : object.items())
    if (!kFields.contains(name)) {
      return fail(
          bad_field(name, "id, prompt, messages, answer, split or metadata", "an unknown field")
              .with_hint("put data of your own under \"metadata\""));
    }
  return {};
}

Result<std::vector<ChatMessage>> parse_messages(const json& object) {
  const bool has_prompt = object.contains("prompt");
  if (has_prompt == object.contains("messages"))
    return fail(bad_field(has_prompt ? "messages" : "prompt", "either prompt or messages",
                          has_prompt ? "both" : "neither"));
  if (has_prompt) {
    const json& prompt = object["prompt"];
    if (!is_filled_string(prompt)) return fail(bad_field("prompt", "a string", kind_of(prompt)));
    return std::vector<ChatMessage>{{"user", prompt.get<std::string>()}};
  }
  const json& list = object["messages"];
  if (!list.is_array() || list.empty() || list.size() > kMaxMessages)
    return fail(bad_field("messages", fmt::format("a list of 1 to {} messages", kMaxMessages),
                          kind_of(list)));
  std::vector<ChatMessage> messages;
  for (const json& entry : list) {
    const std::string name = fmt::format("messages[{}]", messages.size());
    if (!entry.is_object() || entry.size() != 2 || !entry.contains("role") ||
        !entry.contains("content"))
      return fail(bad_field(name, "an object with role and content",
                            entry.is_object() ? entry.dump() : kind_of(entry)));
    const json& role = entry["role"];
    const json& content = entry["content"];
    if (role != "system" && role != "user" && role != "assistant")
      return fail(bad_field(name + ".role", "system, user or assistant",
                            role.is_string() ? role.dump() : kind_of(role)));
    if (!content.is_string())
      return fail(bad_field(name + ".content", "a string", kind_of(content)));
    messages.push_back({role.get<std::string>(), content.get<std::string>()});
  }
  if (messages.back().role != "user") {
    return fail(bad_field(fmt::format("messages[{}].role", messages.size() - 1),
                          "the last message from the user", '"' + messages.back().role + '"'));
  }
  return messages;
}

Result<std::vector<std::string>> parse_answers(const json& object) {
  const auto found = object.find("answer");
  if (found == object.end())
    return fail(bad_field("answer", "a string or a list of strings", "none"));
  if (is_filled_string(*found)) return std::vector<std::string>{found->get<std::string>()};
  if (!found->is_array() || found->empty() || found->size() > kMaxAnswers)
    return fail(bad_field("answer", "a string or a list of strings", kind_of(*found)));
  std::vector<std::string> answers;
  for (const json& answer : *found) {
    if (!is_filled_string(answer))
      return fail(
          bad_field(fmt::format("answer[{}]", answers.size()), "a string", kind_of(answer)));
    answers.push_back(answer.get<std::string>());
  }
  return answers;
}

// Takes at most `max_bytes` of memory beside the line's texts.
Result<JsonlItem> parse_item(std::string_view line, std::size_t max_bytes) {
  if (line.size() > kMaxLineBytes)
    return fail(ErrorKind::kInvalidFile, "expected at most {} bytes a line, got {}", kMaxLineBytes,
                line.size());
  if (const auto bad = find_invalid_utf8(line); bad != std::string_view::npos)
    return fail(ErrorKind::kInvalidFile, "expected UTF-8, byte {} of the line is not", bad + 1);
  ASSIGN_OR_RETURN(json object, parse_object(line, max_bytes));
  RETURN_IF_ERROR(check_field_names(object));
  JsonlItem item;
  const auto id = object.find("id");
  if (id == object.end() || !is_filled_string(*id))
    return fail(bad_field("id", "a string", id == object.end() ? "none" : kind_of(*id)));
  item.id = id->get<std::string>();
  ASSIGN_OR_RETURN(item.messages, parse_messages(object));
  ASSIGN_OR_RETURN(item.answers, parse_answers(object));
  item.split = split_of(item.id);
  if (const auto split = object.find("split"); split != object.end()) {
    const auto parsed = parse_split(split->is_string() ? split->get_ref<const std::string&>() : "");
    if (!parsed) {
      return fail(bad_field("split", "calibration, development or test",
                            split->is_string() ? split->dump() : kind_of(*split)));
    }
    item.split = *parsed;
  }
  if (auto metadata = object.find("metadata"); metadata != object.end()) {
    if (!metadata->is_object()) return fail(bad_field("metadata", "an object", kind_of(*metadata)));
    item.metadata = std::move(*metadata);
  }
  return item;
}

// What an item keeps in memory, with its id among those seen.
std::size_t kept_bytes(const JsonlItem& item, std::string_view line) {
  return kItemBytes + line.size() + item.messages.size() * kMessageBytes +
         item.answers.size() * kAnswerBytes + tree_bytes(item.metadata);
}

}  // namespace

Result<std::vector<JsonlItem>> parse_jsonl(std::string_view text, std::string_view name) {
  std::vector<JsonlItem> items;
  std::unordered_map<std::string, std::int64_t> lines;
  std::int64_t number = 0;
  const std::size_t max_bytes = max_tree_bytes(text.size());
  std::size_t kept = 0;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", name, number);
    auto item = parse_item(line, max_bytes - kept);
    if (!item) return fail(std::move(item).error().at(place));
    item->line = number;
    const auto [first, fresh] = lines.try_emplace(item->id, number);
    if (!fresh) {
      return fail(bad_field("id", "an id of its own",
                            fmt::format("'{}', which line {} has too", item->id, first->second))
                      .at(place));
    }
    kept += kept_bytes(*item, line);
    if (kept > max_bytes)
      return fail(make_error(ErrorKind::kInvalidFile,
                             "expected items that take at most {} bytes of memory, got more",
                             max_bytes)
                      .at(place)
                      .with_hint("give this many items as several files"));
    items.push_back(*std::move(item));
  }
  if (items.empty())
    return fail(make_error(ErrorKind::kInvalidFile, "expected a JSON object a line, got no line")
                    .at(std::string(name)));
  return items;
}

}  // namespace strata
