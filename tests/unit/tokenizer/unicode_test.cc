#include "models/tokenizer/unicode.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/rng.h"

namespace strata::unicode {
namespace {

const std::string kR(kReplacement);

// The cases of Unicode's table 3-8 and their kin; expected values are those of Python's
// decode("utf-8", "replace").
TEST(Unicode, IllFormedBytesBecomeOneReplacementForEachMaximalSubpart) {
  EXPECT_EQ(replace_invalid_utf8("plain \xC3\xA9 \xF0\x9F\x98\x80"),
            "plain \xC3\xA9 \xF0\x9F\x98\x80");
  EXPECT_EQ(replace_invalid_utf8("a\x80"), "a" + kR);
  EXPECT_EQ(replace_invalid_utf8("\xC0\xAF"), kR + kR);                    // overlong
  EXPECT_EQ(replace_invalid_utf8("\xE0\x80\x80"), kR + kR + kR);           // overlong
  EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), kR + kR + kR);           // a surrogate
  EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), kR + kR + kR + kR);  // past U+10FFFF
  EXPECT_EQ(replace_invalid_utf8("\xE2\x82x"), kR + "x");  // cut short: one for both bytes
  EXPECT_EQ(replace_invalid_utf8("\xF0\x9F\x98"), kR);
  EXPECT_EQ(replace_invalid_utf8("\xF0\x80\x80"), kR + kR + kR);
  EXPECT_EQ(replace_invalid_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), kR + kR + kR + kR + "A");
}

TEST(Unicode, RepairedTextIsValidAndValidTextStaysAsItIs) {
  Rng rng(11, "unicode test");
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (std::uint64_t i = rng.below(12); i > 0; --i) {
      bytes += static_cast<char>(rng.below(2) == 0 ? rng.below(256) : 0xE0 + rng.below(32));
    }
    const std::string repaired = replace_invalid_utf8(bytes);
    EXPECT_TRUE(is_valid_utf8(repaired));
    EXPECT_EQ(replace_invalid_utf8(repaired), repaired);
    EXPECT_EQ(is_valid_utf8(bytes), bytes == repaired);
  }
}

TEST(Unicode, EveryCodePointIsReadBack) {
  for (char32_t code = 0x80; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text = code < 0x800     ? std::string{static_cast<char>(0xC0 | code >> 6)}
                       : code < 0x10000 ? std::string{static_cast<char>(0xE0 | code >> 12),
                                                      static_cast<char>(0x80 | (code >> 6 & 0x3F))}
                                        : std::string{static_cast<char>(0xF0 | code >> 18),
                                                      static_cast<char>(0x80 | (code >> 12 & 0x3F)),
                                                      static_cast<char>(0x80 | (code >> 6 & 0x3F))};
    text += static_cast<char>(0x80 | (code & 0x3F));
    const Character character = first_character(text);
    ASSERT_EQ(character.state, Character::State::kComplete);
    ASSERT_EQ(character.code, code);
    ASSERT_EQ(character.length, text.size());
    ASSERT_EQ(code_point_at(text, 0).code, code);
    ASSERT_EQ(code_point_at(text, 0).length, text.size());
    std::string written;
    append_utf8(code, written);
    ASSERT_EQ(written, text);
  }
}

TEST(Unicode, ClassesAgreeWithALinearSearchOfTheTableAndTheAsciiRules) {
  const std::span<const std::uint32_t> starts = class_starts();
  ASSERT_EQ(starts.front() >> 4, 0U);
  ASSERT_TRUE(std::is_sorted(starts.begin(), starts.end()));
  std::size_t range = 0;
  for (char32_t code = 0; code < 0x110000; ++code) {
    while (range + 1 < starts.size() && starts[range + 1] >> 4 <= code) ++range;
    ASSERT_EQ(char_class(code), starts[range] & 0xFU) << static_cast<std::uint32_t>(code);
  }
}

TEST(Unicode, KnownCharactersHaveTheirClass) {
  EXPECT_EQ(char_class('x'), kLetter);
  EXPECT_EQ(char_class(U'中'), kLetter);
  EXPECT_EQ(char_class(U'½'), kNumber | kNumeric);
  EXPECT_EQ(char_class(U'\u3000'), kSpace);
  EXPECT_EQ(char_class(U'\u200B'), 0);  // zero width space is no white space
  EXPECT_EQ(char_class(U'\u0301'), 0);  // a combining mark is no letter
  EXPECT_EQ(char_class(U'\U00011DE3'),
            kNumeric);  // a digit of a newer Unicode than the regular expressions'
}

}  // namespace
}  // namespace strata::unicode
