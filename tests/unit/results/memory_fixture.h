// Databases with runs of LongMemEval's questions, and of needles, for tests of judging and of its
// report.
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

// Three cells of benchmark=niah_grid, at depths 0, 50 and 100 %: "What is best?", of which the
// answer is "Eat a sandwich."; responses are "response 0" to "response 2".
std::string record_needle_run(Store& store, const std::string& label);

// Six questions, one of each type, the last an abstention: "q1" to "q5" and "q6_abs", answered
// "response to q1" and so on.
std::vector<MemoryAnswer> six_answers();

}  // namespace strata::test
