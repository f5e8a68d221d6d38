// Questions on documents: RULER's texts (NVIDIA/RULER, Apache-2.0: data/synthetic/constants.py and
// qa.py), and the part of a file that one split may use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/ruler_qa_file.h"

namespace strata {

inline constexpr std::string_view kQaHead =
    "Answer the question based on the given documents. Only give me the answer and do not output "
    "any other words.\n\nThe following are given documents.\n\n";
std::string qa_tail(std::string_view question);
inline constexpr std::string_view kQaAnswerPrefix = " Answer:";

// What is asked in one split: a question one of whose own documents is of another split is in none.
struct QaPool {
  std::vector<std::size_t> documents;  // of the file, in its order
  std::vector<std::size_t> questions;  // of the file, in its order
  std::vector<std::string> clusters;   // of each of these questions
  std::int64_t questions_removed = 0;  // of this split
};
QaPool qa_pool(const QaFile& file, Split split);

}  // namespace strata
