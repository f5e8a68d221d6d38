// What a text says, as words that can be compared: for checkers of answers.
//
// Letters are lower case without accents, plurals lose their s, numbers are digits whatever way
// they were written ("twenty-one", "1,200"), and each word knows its sentence and clause. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace strata {

struct Word {
  std::string text;              // "plant", "21", "25:50", "2023/05/30"
  std::optional<double> number;  // what it is worth, where it is one
  int decimals = 0;              // that the number was written with
  bool ordinal = false;          // "14th"
  bool index = false;            // "2." at the beginning of a line
  bool grouped = false;          // "1,998": no year
  int sentence = 0;
  int clause = 0;
};

std::vector<Word> words_of(std::string_view text);

// Says nothing about which answer is meant: articles, pronouns, forms of be and have.
bool is_filler_word(std::string_view word);
// What is left of the words without these; all, where nothing would be left.
std::vector<Word> content_words(const std::vector<Word>& words);

}  // namespace strata
