// UTF-8 and the character classes of the `tokenizers` package.
//
// Decoding follows the Unicode rule that Python and Rust share: each maximal prefix of a character
// that cannot be completed becomes one U+FFFD. Pure functions without state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace strata::unicode {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Character {
  enum class State {
    kComplete,
    kIllFormed,
    kTruncated
  };  // truncated: the text ends inside a character
  State state = State::kComplete;
  char32_t code = 0;       // where complete
  std::size_t length = 0;  // bytes, ≥ 1: of the character, or of what one U+FFFD replaces
};

// The character at the front of `text`, which must not be empty.
Character first_character(std::string_view text);

bool is_valid_utf8(std::string_view text);
std::string replace_invalid_utf8(std::string_view text);

// The code point at `text[at]` of valid UTF-8, and its bytes.
struct CodePoint {
  char32_t code;
  std::size_t length;
};
inline CodePoint code_point_at(std::string_view text, std::size_t at) {
  const auto first = static_cast<std::uint8_t>(text[at]);
  if (first < 0x80) return {first, 1};
  const auto tail = [&](std::size_t i) { return static_cast<std::uint8_t>(text[at + i]) & 0x3FU; };
  if (first < 0xE0) return {(first & 0x1FU) << 6 | tail(1), 2};
  if (first < 0xF0) return {(first & 0x0FU) << 12 | tail(1) << 6 | tail(2), 3};
  return {(first & 0x07U) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

void append_utf8(char32_t code, std::string& out);  // of a code point that is no surrogate

// Bits of char_class().
constexpr std::uint8_t kLetter = 1;  // \p{L} of the regular expressions
constexpr std::uint8_t kNumber = 2;  // \p{N} of the regular expressions
constexpr std::uint8_t kSpace = 4;   // \s
constexpr std::uint8_t kNumeric =
    8;  // what the Digits pre-tokenizer splits off (a newer Unicode than \p{N})

constexpr std::array<std::uint8_t, 128> make_ascii_classes() {
  std::array<std::uint8_t, 128> classes{};
  for (std::size_t c = '0'; c <= '9'; ++c) classes[c] = kNumber | kNumeric;
  for (std::size_t c = 'A'; c <= 'Z'; ++c) classes[c] = classes[c + ('a' - 'A')] = kLetter;
  for (std::size_t c = '\t'; c <= '\r'; ++c) classes[c] = kSpace;
  classes[' '] = kSpace;
  return classes;
}
constexpr std::array<std::uint8_t, 128> kAsciiClasses = make_ascii_classes();

std::uint8_t table_class(char32_t code);  // char_class() by the table

inline std::uint8_t char_class(char32_t code) {
  return code < kAsciiClasses.size() ? kAsciiClasses[code] : table_class(code);
}

// Ascending `first code point << 4 | class` of each range of equal class; the first range starts at
// 0.
std::span<const std::uint32_t> class_starts();

}  // namespace strata::unicode
