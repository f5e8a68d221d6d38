#include "models/tokenizer/pre_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/rng.h"

namespace strata {
namespace {

using testing::ElementsAre;

constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                                    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<std::string> pieces(Splitter splitter, std::string_view text) {
  std::vector<std::string> result;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = splitter(text, begin);
    result.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return result;
}

TEST(PreTokenizer, Gpt2TakesOneSpaceWithTheWordBehindIt) {
  EXPECT_THAT(pieces(split_gpt2, "It's  12am, ok?\n\n x "),
              ElementsAre("It", "'s", " ", " 12", "am", ",", " ok", "?", "\n\n", " x", " "));
  EXPECT_THAT(pieces(split_gpt2, "I'VE 'tis"), ElementsAre("I", "'", "VE", " '", "tis"));
  EXPECT_THAT(pieces(split_gpt2, "\t\tif"), ElementsAre("\t", "\t", "if"));
}

TEST(PreTokenizer, DigitsAreSplitOneByOneOrAsRuns) {
  EXPECT_THAT(pieces(split_single_digits, "a 12½b"), ElementsAre("a ", "1", "2", "½", "b"));
  EXPECT_THAT(pieces(split_digit_runs, "a 12½b"), ElementsAre("a ", "12½", "b"));
}

TEST(PreTokenizer, Llama3TakesThreeDigitsAndAnyCharacterBeforeAWord) {
  EXPECT_THAT(pieces(splitter_of_pattern(kLlama3), "(foo) 12345'LL\n\n  \n x!\n"),
              ElementsAre("(foo", ")", " ", "123", "45", "'LL", "\n\n  \n", " x", "!\n"));
}

TEST(PreTokenizer, Qwen2TakesSingleDigits) {
  EXPECT_THAT(pieces(splitter_of_pattern(kQwen2), "x 123"), ElementsAre("x", " ", "1", "2", "3"));
}

TEST(PreTokenizer, AnUnknownPatternHasNoSplitter) {
  EXPECT_EQ(splitter_of_pattern(R"(\p{L}+)"), nullptr);
}

TEST(PreTokenizer, PiecesAreNeverEmptyAndEndBetweenCharacters) {
  const std::vector<std::string> alphabet = {" ", "\n", "\r", "\t", "'", "s", "L",     "l",
                                             "é", "7",  "½",  "中", "😀", "!", "\u3000"};
  Rng rng(5, "pre-tokenizer test");
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (std::uint64_t i = rng.below(16); i > 0; --i) text += alphabet[rng.below(alphabet.size())];
    for (const Splitter splitter : {split_gpt2, split_single_digits, split_digit_runs,
                                    splitter_of_pattern(kLlama3), splitter_of_pattern(kQwen2)}) {
      for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = splitter(text, begin);
        ASSERT_GT(end, begin) << text;
        ASSERT_LE(end, text.size()) << text;
        ASSERT_TRUE(end == text.size() || (static_cast<std::uint8_t>(text[end]) & 0xC0U) != 0x80)
            << text;
        begin = end;
      }
    }
  }
}

}  // namespace
}  // namespace strata
