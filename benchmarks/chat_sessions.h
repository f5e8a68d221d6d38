// Chat sessions of LongMemEval's files as text to train on: what was said, by whom. Ids, dates,
// questions, answers and marks of evidence never leave the reader.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/sha256.h"

namespace strata {

// The id of a session's content, turn by turn: whoever reads sessions, in whatever file, gives
// equal content the equal id.
class SessionId {
 public:
  void add_turn(std::string_view role, std::string_view content);
  std::string hex_digest() { return hash_.hex_digest(); }  // call once

 private:
  Sha256 hash_;
};

struct ChatSession {
  std::string id;    // SessionId of its turns
  std::string text;  // "user: …\n\nassistant: …\n\n…"
};

// All sessions of all items of a JSON array (plain or gzip), each content once, in the order of the
// file; sessions without a turn are left out. Errors, that name file, item and field: kNotFound,
// kIo, kInvalidFile.
Result<std::vector<ChatSession>> read_sessions(const std::filesystem::path& path);
Result<std::vector<ChatSession>> sessions_in(std::string_view text, const std::string& name);

}  // namespace strata
