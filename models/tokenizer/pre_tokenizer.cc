#include "models/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "models/tokenizer/unicode.h"

namespace strata {
namespace {

using unicode::kLetter;
using unicode::kNumber;
using unicode::kNumeric;
using unicode::kSpace;

// The character at `at`: its class, and where the next one starts. Past the end: class kEnd, which
// is in no class.
constexpr std::uint8_t kEnd = 0x80;
struct Step {
  std::uint8_t bits;
  std::size_t next;
};

Step step(std::string_view text, std::size_t at) {
  if (at >= text.size()) return {kEnd, at};
  const unicode::CodePoint point = unicode::code_point_at(text, at);
  return {unicode::char_class(point.code), at + point.length};
}

// The end of the longest run, of at most `limit` characters, whose class has one of `bits`.
std::size_t run_of(std::string_view text, std::size_t at, std::uint8_t bits,
                   std::size_t limit = std::numeric_limits<std::size_t>::max()) {
  for (; limit > 0; --limit) {
    const Step here = step(text, at);
    if ((here.bits & bits) == 0) break;
    at = here.next;
  }
  return at;
}

// [^\s\p{L}\p{N}]*
std::size_t run_of_others(std::string_view text, std::size_t at) {
  for (Step here = step(text, at); (here.bits & (kLetter | kNumber | kSpace | kEnd)) == 0;
       here = step(text, at)) {
    at = here.next;
  }
  return at;
}

bool is_line_break(char c) { return c == '\r' || c == '\n'; }

// \s+(?!\S)|\s+ : a run of spaces without its last one, which belongs to the word behind it, if
// there is one.
std::size_t split_spaces(std::string_view text, std::size_t begin) {
  std::size_t last = begin;
  std::size_t end = begin;
  for (Step here = step(text, begin); (here.bits & kSpace) != 0; here = step(text, end)) {
    last = end;
    end = here.next;
  }
  return end == text.size() || last == begin ? end : last;
}

// 's|'t|'re|'ve|'m|'ll|'d at `begin`: its end, or `begin`. (?i:…) also folds U+017F (ſ) to s.
std::size_t contraction(std::string_view text, std::size_t begin, bool ignore_case) {
  if (text[begin] != '\'') return begin;
  const std::string_view rest = text.substr(begin + 1);
  const auto lower = [&](std::size_t i) {
    const char c = i < rest.size() ? rest[i] : '\0';
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  };
  const char first = lower(0);
  const char second = lower(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return begin + 2;
  if (((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l')) {
    return begin + 3;
  }
  return ignore_case && rest.starts_with("\u017F") ? begin + 3 : begin;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,kDigits}| ?[^\s\p{L}\p{N}]+[\r\n]*
// |\s*[\r\n]+|\s+(?!\S)|\s+
template <std::size_t kDigits>
std::size_t split_tiktoken(std::string_view text, std::size_t begin) {
  if (const std::size_t end = contraction(text, begin, true); end != begin) return end;
  const Step first = step(text, begin);
  if ((first.bits & kNumber) != 0) return run_of(text, begin, kNumber, kDigits);
  if (!is_line_break(text[begin])) {
    if (const std::size_t end = run_of(text, first.next, kLetter);
        end != first.next || (first.bits & kLetter) != 0) {
      return end;
    }
  }
  const std::size_t others = text[begin] == ' ' ? begin + 1 : begin;
  if (std::size_t end = run_of_others(text, others); end != others) {
    while (end < text.size() && is_line_break(text[end])) ++end;
    return end;
  }
  const std::size_t spaces = run_of(text, begin, kSpace);
  const std::size_t line_break = text.substr(begin, spaces - begin).find_last_of("\r\n");
  return line_break != std::string_view::npos ? begin + line_break + 1 : split_spaces(text, begin);
}

struct KnownPattern {
  std::string_view pattern;
  Splitter splitter;
};
constexpr KnownPattern kKnownPatterns[] = {
    // Llama 3
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     split_tiktoken<3>},
    // Qwen 2 and 3
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     split_tiktoken<1>},
};

}  // namespace

std::size_t split_digit_runs(std::string_view text, std::size_t begin) {
  const Step first = step(text, begin);
  std::size_t at = first.next;
  for (Step here = step(text, at); here.bits != kEnd; here = step(text, at)) {
    if ((here.bits & kNumeric) != (first.bits & kNumeric)) break;
    at = here.next;
  }
  return at;
}

std::size_t split_single_digits(std::string_view text, std::size_t begin) {
  const Step first = step(text, begin);
  return (first.bits & kNumeric) != 0 ? first.next : split_digit_runs(text, begin);
}

std::size_t split_gpt2(std::string_view text, std::size_t begin) {
  if (const std::size_t end = contraction(text, begin, false); end != begin) return end;
  const std::size_t word = text[begin] == ' ' ? begin + 1 : begin;
  const Step first = step(text, word);
  if ((first.bits & kLetter) != 0) return run_of(text, first.next, kLetter);
  if ((first.bits & kNumber) != 0) return run_of(text, first.next, kNumber);
  if ((first.bits & (kSpace | kEnd)) == 0) return run_of_others(text, first.next);
  return split_spaces(text, begin);
}

Splitter splitter_of_pattern(std::string_view pattern) {
  const auto* const known =
      std::find_if(std::begin(kKnownPatterns), std::end(kKnownPatterns),
                   [&](const KnownPattern& entry) { return entry.pattern == pattern; });
  return known == std::end(kKnownPatterns) ? nullptr : known->splitter;
}

}  // namespace strata
