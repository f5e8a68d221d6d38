// Sessions that are taken have text and ids of their own; what they hold is not longer than the
// file.
#include "benchmarks/chat_sessions.h"

#include <set>

#include "models/tokenizer/unicode.h"
#include "tests/fuzz/target.h"

namespace strata {

const fuzz::Format fuzz::kFormat{
    .name = "chat_sessions",
    .tokens = R"("haystack_sessions":[[{"role":"user","content":"c"}]], "role":"user", )"
              R"("content":"c", "has_answer":true, {} [] [[]] null 7 "")"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const auto sessions = sessions_in({reinterpret_cast<const char*>(data), size}, "data.json");
  if (!sessions) {
    STRATA_CHECK(!sessions.error().text().empty());
    return 0;
  }
  std::set<std::string_view> ids;
  for (const ChatSession& session : *sessions) {
    STRATA_CHECK(!session.text.empty() && unicode::is_valid_utf8(session.text));
    STRATA_CHECK(session.text.size() <= 2 * size);  // U+FFFD is longer than what it stands for
    STRATA_CHECK(session.id.size() == 64 && ids.insert(session.id).second);
  }
  fuzz::accepted = !sessions->empty();
  return 0;
}
