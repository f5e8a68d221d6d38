// A judge's reply is refused with a reason, or gives text that can be stored, and verdicts of which
// the strict one is never alone.
#include "benchmarks/judge/chat_reply.h"
#include "benchmarks/judge/plain_text.h"
#include "benchmarks/judge/rubric.h"
#include "core/model_reply.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

void check_verdict(VerdictRule rule, const std::string& text) {
  const Verdict verdict = read_verdict(rule, text);
  STRATA_CHECK(verdict.official || !verdict.strict);
  STRATA_CHECK(verdict.official.has_value() == !final_answer(text).text.empty());
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "judge_reply",
    .tokens = R"("choices":[ {"message":{ "content":"yes" "content":null "model":"judge-1" )"
              R"("error":{"message":"x"} <think> </think> yes no CORRECT WRONG \ud800 \u0000)"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const std::string body(reinterpret_cast<const char*>(data), size);
  for (const long status : {200L, 429L, 404L}) {
    const ChatReply reply =
        read_chat_reply({.status = status, .body = body, .content_type = {}, .retry_after = {}});
    if (reply.next != ChatReply::Next::kDone) {
      STRATA_CHECK(!one_line(reply.error, 300).empty() && reply.text.empty());
      continue;
    }
    STRATA_CHECK(status == 200 && reply.error.empty());
    fuzz::accepted = true;
    STRATA_CHECK(valid_utf8(reply.text) == reply.text && valid_utf8(reply.model) == reply.model);
    const std::string said(final_answer(reply.text).text);
    STRATA_CHECK(final_answer(said).text == said);
    for (const VerdictRule rule : {VerdictRule::kYesNo, VerdictRule::kCorrectWrong})
      check_verdict(rule, reply.text);
  }
  return 0;
}
