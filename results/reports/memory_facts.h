// What a stored sample says of the LongMemEval question that it asks.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "results/rows.h"

namespace strata {

// In the order of reports.
inline constexpr std::array<std::string_view, 6> kQuestionTypes = {
    "single-session-user", "single-session-assistant", "single-session-preference",
    "multi-session",       "temporal-reasoning",       "knowledge-update"};

struct MemoryFacts {
  std::string question_id, question_type, question, answer;
  bool abstention = false;  // by the id, as LongMemEval's code has it
};

// From the metadata `question_type`, `question_id` and `question` (of benchmark=jsonl: those of the
// user's own), the answer from `answer` there, or else the first accepted answer. None where one of
// them is missing or the type is none of the six.
std::optional<MemoryFacts> memory_facts(const SampleRow& sample);

}  // namespace strata
