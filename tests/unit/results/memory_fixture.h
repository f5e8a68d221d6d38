// Databases with runs of LongMemEval's questions, for tests of judging and of its report.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rows_fixture.h"

namespace strata::test {

struct MemoryAnswer {
  std::string id, type, question, answer;
  std::optional<std::string> response;  // none: unanswered
  std::optional<double> contains = 1;   // the checker's verdict; none: it has none
  std::string cluster = {};
};

// A run of these questions, finished where all are answered, under a plan of its own (by the
// label's length: labels of one database have different lengths); returns the experiment's id.
std::string record_memory_run(Store& store, const std::string& label,
                              const std::vector<MemoryAnswer>& answers);

// Six questions, one of each type, the last an abstention: "q1" to "q5" and "q6_abs", answered
// "response to q1" and so on.
std::vector<MemoryAnswer> six_answers();

}  // namespace strata::test
