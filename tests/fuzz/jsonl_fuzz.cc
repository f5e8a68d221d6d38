// Items that are taken are complete, have ids of their own and are no more than the lines.
#include <algorithm>
#include <set>

#include "benchmarks/jsonl.h"
#include "models/tokenizer/unicode.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

constexpr std::size_t kMaxDumped = 1 << 20;

void check_sound(std::string_view text, const std::vector<JsonlItem>& items) {
  const std::int64_t lines = 1 + std::count(text.begin(), text.end(), '\n');
  STRATA_CHECK(!items.empty() && static_cast<std::int64_t>(items.size()) <= lines);
  std::set<std::string_view> ids;
  std::int64_t last_line = 0;
  for (const JsonlItem& item : items) {
    STRATA_CHECK(item.line > last_line && item.line <= lines, "{}", item.line);
    last_line = item.line;
    STRATA_CHECK(!item.id.empty() && ids.insert(item.id).second, "{}", item.id);
    STRATA_CHECK(!item.messages.empty() && item.messages.back().role == "user");
    for (const ChatMessage& message : item.messages)
      STRATA_CHECK(unicode::is_valid_utf8(message.content));
    STRATA_CHECK(!item.answers.empty());
    for (const std::string& answer : item.answers)
      STRATA_CHECK(!answer.empty() && unicode::is_valid_utf8(answer));
    STRATA_CHECK(item.metadata.is_object());
    // The check's own memory counts too.
    if (text.size() < kMaxDumped)
      STRATA_CHECK(nlohmann::json::parse(item.metadata.dump()) == item.metadata);
  }
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "jsonl",
    .tokens =
        R"("id":"z", "prompt":"p", "answer":"a", "answer":["a","b"], "split":"test", )"
        R"("messages":[{"role":"user","content":"c"}], "metadata":{"k":[1]}, null true {} [] "")"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto items = parse_jsonl(text, "data.jsonl");
  if (!items) {
    STRATA_CHECK(!items.error().text().empty());
    return 0;
  }
  fuzz::accepted = true;
  check_sound(text, *items);
  return 0;
}
