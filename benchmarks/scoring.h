// Scores of one response to one sample, by text and by teacher-forced tokens. Pure functions.
//
// Texts are compared with surrounding white space stripped and control characters as newlines, as
// in RULER.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "benchmarks/benchmark.h"

namespace strata {

// gen_contains, gen_exact where text was generated; tf_exact, answer_nll where answers were
// teacher-forced.
std::map<std::string, double> score_answer(const Sample& sample, const Response& response);

// Any answer occurs in the text, letter case folded (Latin, Greek and Cyrillic letters).
bool contains_any(std::string_view text, std::span<const std::string> answers);
// The text begins with one of the answers, letter case kept, and then ends or goes on with a
// newline or period.
bool begins_with_any(std::string_view text, std::span<const std::string> answers);
// RULER's string_match_all for one sample: the share of references that the text contains.
double string_match_all(std::string_view text, std::span<const std::string> references);

}  // namespace strata
