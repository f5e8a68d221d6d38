// Common words extraction: RULER's texts (NVIDIA/RULER, Apache-2.0: data/synthetic/constants.py and
// common_words_extraction.py).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

inline constexpr std::string_view kCweHead =
    "Below is a numbered list of words. In these words, some appear more often than others. "
    "Memorize the ones that appear most often.\n";
inline constexpr std::string_view kCweTail =
    "\nQuestion: What are the 10 most common words in the above list?";
inline constexpr std::string_view kCweAnswerPrefix =
    " Answer: The top 10 words that appear most often in the list are:";
inline constexpr std::size_t kCweCommon = 10;

// How many words there are, and how often each. Below 4,096 tokens RULER repeats less.
struct CweShape {
  std::int64_t common = 30;  // times
  std::int64_t other = 3;
  std::size_t example_words = 40;
  std::int64_t example_common = 10;
  std::int64_t example_other = 3;
};
CweShape cwe_shape(std::int64_t length);

// "1. a 2. b"
std::string numbered(const std::vector<std::string_view>& words);

}  // namespace strata
