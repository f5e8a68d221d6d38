// Whether a response answers a LongMemEval question, decided by rules and no model: what the
// published rubrics ask of their judge, as far as words can tell.
//
// Numbers are compared by value and unit, times and days as such, texts by their words. A response
// with several values is judged by the one it concludes with. Where words cannot tell, the rules
// rather say wrong than right: paraphrases of long answers are missed. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/longmemeval_types.h"

namespace strata {

struct AnswerKey {
  QuestionType type = QuestionType::kSingleSessionUser;
  bool abstention = false;
  std::string question;  // says what is counted ("how many weeks …")
  std::string answer;    // as the data file has it
};

enum class Verdict { kWrong, kRight, kUnscored };

// kUnscored: a preference, whose "answer" is a rubric. Reasoning in <think> … </think> does not
// count; a response whose reasoning never ended is wrong.
Verdict check_answer(const AnswerKey& key, std::string_view response);

inline constexpr std::string_view kAnswerRange = "Answers ranging from";

// The answers that the text of an answer lists, the main one first: "7 days. 8 days (including the
// last day) is also acceptable." is "7 days" and "8 days"; "11 days (or 12 days, if …)" likewise.
// One may be a range, which begins with kAnswerRange.
std::vector<std::string> listed_answers(std::string_view answer);

// The response says that the history does not tell.
bool says_unanswerable(std::string_view response);

}  // namespace strata
