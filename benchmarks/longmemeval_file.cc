#include "benchmarks/longmemeval_file.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "benchmarks/longmemeval_date.h"
#include "benchmarks/packed_file.h"
#include "core/config/binder.h"
#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 16;
// Beside its text: what an item's tree may take. Turns of a few words are ten times their text.
constexpr std::size_t kTreeBytes = std::size_t{32} << 20U;
constexpr std::size_t kShownChars = 40;
constexpr std::string_view kDateShape = "a date such as \"2023/05/30 (Tue) 23:40\"";

Error bad_field(std::string_view field, std::string_view expected, std::string_view got) {
  return make_error(ErrorKind::kInvalidFile, "expected {}, got {}", expected, got)
      .at(fmt::format("field '{}'", field));
}

// What a value is, for an error; short texts as they stand.
std::string shown(const json* value) {
  if (value == nullptr) return "none";
  if (value->is_string()) {
    const auto& text = value->get_ref<const std::string&>();
    if (text.empty()) return "an empty string";
    return text.size() <= kShownChars ? value->dump() : "a longer string";
  }
  if (value->is_array()) return value->empty() ? "an empty list" : "a list";
  if (value->is_object()) return "an object";
  return value->dump();
}

json* find(json& object, const char* field) {
  const auto found = object.find(field);
  return found == object.end() ? nullptr : &*found;
}

Result<std::string> filled_string(json& object, const char* field) {
  json* const value = find(object, field);
  if (value == nullptr || !value->is_string() || value->get_ref<const std::string&>().empty())
    return fail(bad_field(field, "a string", shown(value)));
  return std::move(value->get_ref<std::string&>());
}

Result<std::string> date_at(json& value, const std::string& field) {
  if (!value.is_string() || !minutes_of_date(value.get_ref<const std::string&>()))
    return fail(bad_field(field, kDateShape, shown(&value)));
  return std::move(value.get_ref<std::string&>());
}

Result<json*> list_field(json& object, const char* field, std::string_view expected) {
  json* const list = find(object, field);
  if (list == nullptr || !list->is_array()) return fail(bad_field(field, expected, shown(list)));
  return list;
}

Result<QuestionType> type_field(json& object) {
  const json* const value = find(object, "question_type");
  std::vector<std::string_view> known;
  for (const auto& [type, name] : config::EnumTable<QuestionType>::kNames) {
    if (value != nullptr && value->is_string() && value->get_ref<const std::string&>() == name)
      return type;
    known.push_back(name);
  }
  return fail(
      bad_field("question_type", fmt::format("one of {}", fmt::join(known, ", ")), shown(value)));
}

// 32 of the published answers are integers.
Result<std::string> answer_field(json& object) {
  const json* const value = find(object, "answer");
  if (value != nullptr && value->is_number_integer()) return value->dump();
  if (value == nullptr || !value->is_string())
    return fail(bad_field("answer", "a string or an integer", shown(value)));
  return filled_string(object, "answer");
}

Result<ChatMessage> parse_turn(json& turn, const std::string& field, bool& has_answer) {
  if (!turn.is_object())
    return fail(bad_field(field, "an object with role and content", shown(&turn)));
  for (const auto& [name, value] : turn.items())
    if (name != "role" && name != "content" && name != "has_answer")
      return fail(bad_field(fmt::format("{}.{}", field, name), "role, content or has_answer",
                            "an unknown field"));
  json* const role = find(turn, "role");
  if (role == nullptr || (*role != "user" && *role != "assistant"))
    return fail(bad_field(field + ".role", "user or assistant", shown(role)));
  json* const content = find(turn, "content");
  if (content == nullptr || !content->is_string())
    return fail(bad_field(field + ".content", "a string", shown(content)));
  const json* const label = find(turn, "has_answer");
  if (label != nullptr && !label->is_boolean())
    return fail(bad_field(field + ".has_answer", "true or false", shown(label)));
  has_answer = label != nullptr && label->get<bool>();
  return ChatMessage{std::move(role->get_ref<std::string&>()),
                     std::move(content->get_ref<std::string&>())};
}

Status parse_sessions(json& object, LongMemEvalItem& item) {
  ASSIGN_OR_RETURN(json * sessions, list_field(object, "haystack_sessions", "a list of sessions"));
  if (sessions->empty())
    return fail(bad_field("haystack_sessions", "a list of sessions", shown(sessions)));
  ASSIGN_OR_RETURN(json * dates, list_field(object, "haystack_dates", "a list of dates"));
  if (dates->size() != sessions->size())
    return fail(bad_field("haystack_dates",
                          fmt::format("a date for each of {} sessions", sessions->size()),
                          fmt::format("{}", dates->size())));
  for (std::size_t s = 0; s < sessions->size(); ++s) {
    DatedSession& session = item.history.sessions.emplace_back();
    ASSIGN_OR_RETURN(session.date, date_at((*dates)[s], fmt::format("haystack_dates[{}]", s)));
    json& turns = (*sessions)[s];
    const std::string field = fmt::format("haystack_sessions[{}]", s);
    if (!turns.is_array()) return fail(bad_field(field, "a list of turns", shown(&turns)));
    session.turns.reserve(turns.size());
    for (std::size_t t = 0; t < turns.size(); ++t) {
      bool has_answer = false;
      ASSIGN_OR_RETURN(ChatMessage turn,
                       parse_turn(turns[t], fmt::format("{}[{}]", field, t), has_answer));
      session.turns.push_back(std::move(turn));
      if (has_answer) item.labels.turns.push_back({s, t});
    }
  }
  return {};
}

// Which sessions are the evidence; their ids go no further.
Status parse_evidence(json& object, LongMemEvalItem& item) {
  const std::size_t count = item.history.sessions.size();
  ASSIGN_OR_RETURN(json * ids, list_field(object, "haystack_session_ids", "a list of ids"));
  if (ids->size() != count)
    return fail(bad_field("haystack_session_ids",
                          fmt::format("an id for each of {} sessions", count),
                          fmt::format("{}", ids->size())));
  const auto check_id = [](const json& id, const char* field, std::size_t i) -> Status {
    if (!id.is_string() || id.get_ref<const std::string&>().empty())
      return fail(bad_field(fmt::format("{}[{}]", field, i), "a string", shown(&id)));
    return {};
  };
  for (std::size_t i = 0; i < count; ++i)
    RETURN_IF_ERROR(check_id((*ids)[i], "haystack_session_ids", i));
  ASSIGN_OR_RETURN(json * evidence,
                   list_field(object, "answer_session_ids", "a list of ids of sessions"));
  if (evidence->empty() && !item.abstention)
    return fail(bad_field("answer_session_ids", "an id of a session, at least", "an empty list"));
  std::unordered_map<std::string_view, std::vector<std::size_t>> sessions;
  for (std::size_t s = 0; s < count; ++s)
    sessions[(*ids)[s].get_ref<const std::string&>()].push_back(s);
  item.labels.sessions.assign(count, false);
  for (std::size_t i = 0; i < evidence->size(); ++i) {
    RETURN_IF_ERROR(check_id((*evidence)[i], "answer_session_ids", i));
    const auto found = sessions.find((*evidence)[i].get_ref<const std::string&>());
    if (found == sessions.end())
      return fail(bad_field(fmt::format("answer_session_ids[{}]", i), "one of haystack_session_ids",
                            shown(&(*evidence)[i])));
    for (const std::size_t session : found->second) item.labels.sessions[session] = true;
    found->second.clear();  // however often it is named
  }
  return {};
}

// `item.id` is set as soon as it is known.
Status parse_item(std::string_view text, LongMemEvalItem& item) {
  ASSIGN_OR_RETURN(json object,
                   parse_json(text, {.depth = kMaxDepth, .tree_bytes = text.size() + kTreeBytes}));
  if (!object.is_object())
    return fail(ErrorKind::kInvalidFile, "expected an object, got {}", shown(&object));
  ASSIGN_OR_RETURN(item.id, filled_string(object, "question_id"));
  item.abstention = item.id.find("_abs") != std::string::npos;
  ASSIGN_OR_RETURN(item.type, type_field(object));
  ASSIGN_OR_RETURN(item.history.question, filled_string(object, "question"));
  json* const date = find(object, "question_date");
  if (date == nullptr) return fail(bad_field("question_date", kDateShape, "none"));
  ASSIGN_OR_RETURN(item.history.question_date, date_at(*date, "question_date"));
  ASSIGN_OR_RETURN(item.answer, answer_field(object));
  RETURN_IF_ERROR(parse_sessions(object, item));
  return parse_evidence(object, item);
}

}  // namespace

Result<LongMemEvalReader> LongMemEvalReader::open(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(PackedFile opened, PackedFile::open(path, kMaxDataBytes));
  // std::function copies what it holds.
  const auto file = std::make_shared<PackedFile>(std::move(opened));
  return LongMemEvalReader([file](std::span<char> buffer) { return file->read(buffer); },
                           path.string());
}

LongMemEvalReader LongMemEvalReader::of_text(std::string_view text, std::string name) {
  return {[text](std::span<char> buffer) mutable -> Result<std::size_t> {
            const std::size_t taken = text.copy(buffer.data(), buffer.size());
            text.remove_prefix(taken);
            return taken;
          },
          std::move(name)};
}

Result<std::optional<LongMemEvalItem>> LongMemEvalReader::next() {
  Result<std::optional<std::string_view>> text = items_.next();
  if (!text) {  // a damaged file says its name itself
    Error error = std::move(text).error();
    return fail(error.where.empty() ? std::move(error).at(name_) : std::move(error));
  }
  if (!*text) return std::nullopt;
  LongMemEvalItem item;
  Status parsed = parse_item(**text, item);
  if (parsed && !ids_.insert(item.id).second)
    parsed = fail(bad_field("question_id", "an id of its own", "that of an earlier item"));
  if (parsed) return item;
  Error error = std::move(parsed).error();
  if (error.where.empty())  // bytes are those of the item
    error = std::move(error).at(fmt::format("the item from byte {} on", items_.item_begin()));
  if (!item.id.empty()) error = std::move(error).at(json(item.id).dump());
  return fail(std::move(error).at(fmt::format("item {}", items_.count() - 1)).at(name_));
}

}  // namespace strata
