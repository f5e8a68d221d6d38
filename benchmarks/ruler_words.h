// The words of RULER's common words extraction.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/ruler_source.h"

namespace strata {

// Sorted, each once. Of `word_file`, else of `words` (wonderwords: nouns, adjectives and verbs).
// Errors, that name the file, line or item: not found, too few words, no words.
Result<std::vector<std::string>> ruler_words(const RulerConfig& config,
                                             const SampleRequest& request);

// A word a line; or JSON, a list of words or an object whose values are words.
Result<std::vector<std::string>> parse_word_file(std::string_view text, const std::string& name);

}  // namespace strata
