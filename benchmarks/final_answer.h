// What a response says beside its reasoning, the same for every checker and judge.
#pragma once

#include <string_view>

namespace strata {

struct FinalAnswer {
  // Behind the last </think>, without white space around it; part of the response. (LongMemEval's
  // code judges reasoning too.)
  std::string_view text;
  bool unfinished_thought = false;  // a <think> without its end: what stands before is not final
};
FinalAnswer final_answer(std::string_view response);

}  // namespace strata
