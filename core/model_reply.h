// What the text of a model says: the same for every checker, judge and report.
#pragma once

#include <optional>
#include <string_view>

namespace strata {

struct FinalAnswer {
  // Behind the last </think>, without white space around it; part of the response. (LongMemEval's
  // code judges reasoning too.)
  std::string_view text;
  bool unfinished_thought = false;  // a <think> without its end: what stands before is not final
};
FinalAnswer final_answer(std::string_view response);

// What stands between the first "[[" and "]]" of the final answer, an integer from 1 to 10 (the
// form that LangChain asks judges for); none where it is no such.
std::optional<int> bracketed_score(std::string_view reply);

}  // namespace strata
