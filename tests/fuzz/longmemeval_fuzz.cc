// Questions that are taken are complete: labels fit the history, dates are dates, and the prompt of
// each holds its turns and is valid UTF-8.
#include <set>

#include "benchmarks/longmemeval_date.h"
#include "benchmarks/longmemeval_file.h"
#include "benchmarks/longmemeval_prompt.h"
#include "models/tokenizer/unicode.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

constexpr std::size_t kMaxWritten = 1 << 20;

void check_sound(const LongMemEvalItem& item, std::size_t size) {
  STRATA_CHECK(!item.id.empty() && !item.answer.empty() && !item.history.question.empty());
  STRATA_CHECK(minutes_of_date(item.history.question_date).has_value());
  STRATA_CHECK(!item.history.sessions.empty());
  STRATA_CHECK(item.labels.sessions.size() == item.history.sessions.size());
  for (const DatedSession& session : item.history.sessions) {
    STRATA_CHECK(minutes_of_date(session.date).has_value(), "{}", session.date);
    for (const ChatMessage& turn : session.turns)
      STRATA_CHECK(turn.role == "user" || turn.role == "assistant", "{}", turn.role);
  }
  for (const EvidenceTurn& turn : item.labels.turns)
    STRATA_CHECK(turn.session < item.history.sessions.size() &&
                 turn.turn < item.history.sessions[turn.session].turns.size());
  if (size > kMaxWritten) return;  // the check's own memory counts too
  for (const HistoryFormat format : {HistoryFormat::kJson, HistoryFormat::kNl}) {
    const ReadingPrompt prompt =
        reading_prompt(item.history, by_date(item.history), format, ReadingStyle::kCon);
    STRATA_CHECK(unicode::is_valid_utf8(prompt.text));
    STRATA_CHECK(prompt.borders.size() == item.history.sessions.size() + 1);
    for (const auto& turns : prompt.turns)
      for (const TurnPlace& place : turns)
        STRATA_CHECK(place.begin <= place.end && place.end <= prompt.text.size());
  }
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "longmemeval",
    .tokens =
        R"("question_id":"q_abs", "question_type":"multi-session", "question":"q", )"
        R"("question_date":"2023/05/30 (Tue) 23:40", "answer":3, "haystack_dates":[], )"
        R"("haystack_session_ids":["a"], "haystack_sessions":[[{"role":"user","content":"c"}]], )"
        R"("answer_session_ids":["a"], "has_answer":true, "role":"assistant", {} [] null 7 "")"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  LongMemEvalReader reader =
      LongMemEvalReader::of_text({reinterpret_cast<const char*>(data), size}, "data.json");
  std::set<std::string> ids;
  while (true) {
    const auto item = reader.next();
    if (!item) {
      STRATA_CHECK(!item.error().text().empty());
      return 0;
    }
    if (!*item) break;
    check_sound(**item, size);
    STRATA_CHECK(ids.insert((*item)->id).second);
  }
  fuzz::accepted = !ids.empty();
  return 0;
}
