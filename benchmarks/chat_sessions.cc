#include "benchmarks/chat_sessions.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "benchmarks/packed_file.h"
#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

tl::unexpected<Error> bad(const std::string& place, std::string_view expected, const json& got) {
  return fail(
      make_error(ErrorKind::kInvalidFile, "expected {}, got a {}", expected, got.type_name())
          .at(place));
}

// Uses up the turns' texts: a file's content is there once.
Result<ChatSession> session_of(json& turns, const std::string& place) {
  if (!turns.is_array()) return bad(place, "a list of turns", turns);
  ChatSession session;
  SessionId id;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const std::string here = fmt::format("{}[{}]", place, i);
    json& turn = turns[i];
    if (!turn.is_object()) return bad(here, "an object with role and content", turn);
    for (const char* field : {"role", "content"})
      if (const auto part = turn.find(field); part == turn.end() || !part->is_string())
        return bad(fmt::format("{}.{}", here, field), "a string",
                   part == turn.end() ? json() : *part);
    const auto role = std::move(turn["role"].get_ref<std::string&>());
    const auto content = std::move(turn["content"].get_ref<std::string&>());
    id.add_turn(role, content);
    if (i > 0) session.text += "\n\n";
    session.text.append(role).append(": ").append(content);
  }
  session.id = id.hex_digest();
  return session;
}

}  // namespace

void SessionId::add_turn(std::string_view role, std::string_view content) {
  for (const std::string_view part : {role, content}) hash_.update_u64(part.size()).update(part);
}

Result<std::vector<ChatSession>> sessions_in(std::string_view text, const std::string& name) {
  Result<json> parsed = parse_json(text);
  if (!parsed) return fail(std::move(parsed).error().at(name));
  json& items = *parsed;
  if (!items.is_array()) return bad(name, "a list of items", items);
  std::vector<ChatSession> sessions;
  std::unordered_set<std::string> seen;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string place = fmt::format("{}: item {}", name, i);
    if (!items[i].is_object()) return bad(place, "an object", items[i]);
    const auto all = items[i].find("haystack_sessions");
    if (all == items[i].end() || !all->is_array())
      return bad(place + ": field 'haystack_sessions'", "a list of sessions",
                 all == items[i].end() ? json() : *all);
    for (std::size_t s = 0; s < all->size(); ++s) {
      ASSIGN_OR_RETURN(ChatSession session,
                       session_of((*all)[s], fmt::format("{}: haystack_sessions[{}]", place, s)));
      if (!session.text.empty() && seen.insert(session.id).second)
        sessions.push_back(std::move(session));
    }
  }
  return sessions;
}

Result<std::vector<ChatSession>> read_sessions(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_maybe_gzip(path));
  return sessions_in(text, path.string());
}

}  // namespace strata
