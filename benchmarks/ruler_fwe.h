// Frequent words extraction: RULER's texts (NVIDIA/RULER, Apache-2.0: data/synthetic/constants.py
// and freq_words_extraction.py).
#pragma once

#include <cstdint>
#include <string_view>

namespace strata {

inline constexpr std::string_view kFweHead =
    "Read the following coded text and track the frequency of each coded word. Find the three most "
    "frequently appeared coded words. ";
inline constexpr std::string_view kFweTail =
    "\nQuestion: Do not provide any explanation. Please ignore the dots '....'. What are the three "
    "most frequently appeared words in the above coded text?";
inline constexpr std::string_view kFweAnswerPrefix =
    " Answer: According to the coded text above, the three most frequently appeared words are:";
inline constexpr std::string_view kFweNoise = "...";  // stands for the most frequent word

// How often the word of a rank (from 1) occurs in a text of some `words` words: the zeta
// distribution with alpha 2, rounded down.
std::int64_t fwe_count(std::int64_t words, std::int64_t rank);

}  // namespace strata
