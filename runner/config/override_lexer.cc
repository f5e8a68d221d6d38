#include "runner/config/override_lexer.h"

#include <algorithm>
#include <array>

namespace strata::config::internal {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_space(char c) { return c == ' ' || c == '\t'; }
char at(std::string_view text, std::size_t i) { return i < text.size() ? text[i] : '\0'; }

std::size_t spaces(std::string_view text, std::size_t i) {
  while (is_space(at(text, i))) ++i;
  return i;
}

// Each returns where its match ends, or 0 for none. `text` starts at the token.

// DIGIT ('_'? DIGIT)*
std::size_t digits(std::string_view text, std::size_t i) {
  if (!is_digit(at(text, i))) return 0;
  ++i;
  while (is_digit(at(text, i)) || (at(text, i) == '_' && is_digit(at(text, i + 1)))) ++i;
  return i;
}

// '0' or digits that do not begin with 0.
std::size_t natural(std::string_view text, std::size_t i) {
  return at(text, i) == '0' ? i + 1 : digits(text, i);
}

std::size_t match_integer(std::string_view text) {
  return natural(text, at(text, 0) == '+' || at(text, 0) == '-' ? 1 : 0);
}

bool same_letters(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char want, char got) {
           return want == (got >= 'A' && got <= 'Z' ? static_cast<char>(got - 'A' + 'a') : got);
         });
}

std::size_t match_real(std::string_view text) {
  const std::size_t start = at(text, 0) == '+' || at(text, 0) == '-' ? 1 : 0;
  for (const std::string_view word : {"inf", "nan"}) {
    if (same_letters(text.substr(std::min(start, text.size())), word)) return start + 3;
  }
  const std::size_t whole = natural(text, start);
  std::size_t end = whole == 0 ? start : whole;
  bool point = false;
  if (at(text, end) == '.') {
    const std::size_t fraction = digits(text, end + 1);
    point = fraction != 0 || whole != 0;
    if (point) end = fraction != 0 ? fraction : end + 1;
  }
  if (whole == 0 && !point) return 0;
  if (at(text, end) == 'e' || at(text, end) == 'E') {
    const bool sign = at(text, end + 1) == '+' || at(text, end + 1) == '-';
    if (const std::size_t exponent = digits(text, end + (sign ? 2 : 1)); exponent != 0)
      return exponent;
  }
  return point ? end : 0;
}

std::size_t match_word(std::string_view text, std::string_view lower) {
  return same_letters(text, lower) ? lower.size() : 0;
}

std::size_t match_name(std::string_view text) {
  if (!is_letter(at(text, 0)) && at(text, 0) != '_') return 0;
  std::size_t i = 1;
  while (is_letter(at(text, i)) || is_digit(at(text, i)) || at(text, i) == '_' ||
         at(text, i) == '-')
    ++i;
  return i;
}

std::size_t match_escape(std::string_view text) {
  static constexpr std::string_view kEscaped = "\\()[]{}:=, \t";
  std::size_t i = 0;
  while (at(text, i) == '\\' && i + 1 < text.size() &&
         kEscaped.find(text[i + 1]) != std::string_view::npos)
    i += 2;
  return i;
}

// Up to the first quote that an even number of backslashes precedes.
std::size_t match_quoted(std::string_view text) {
  const char quote = at(text, 0);
  if (quote != '\'' && quote != '"') return 0;
  std::size_t backslashes = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] == quote && backslashes % 2 == 0) return i + 1;
    backslashes = text[i] == '\\' ? backslashes + 1 : 0;
  }
  return 0;
}

std::size_t match_interpolation(std::string_view text) {
  if (!text.starts_with("${")) return 0;
  const std::size_t end = text.find('}');
  return end == std::string_view::npos || end == 2 ? 0 : end + 1;
}

// A punctuation mark with the spaces it swallows on either side.
std::size_t match_mark(std::string_view text, char mark, bool before, bool after) {
  const std::size_t i = before ? spaces(text, 0) : 0;
  if (at(text, i) != mark) return 0;
  return after ? spaces(text, i + 1) : i + 1;
}

struct Match {
  TokenKind kind;
  std::size_t length;
};

// In the order of the grammar, which decides between matches of equal length.
Match longest(std::string_view text) {
  using enum TokenKind;
  static constexpr std::string_view kOtherCharacters = "/-\\+.$%*@?|";
  const std::array<Match, 19> matches = {{
      {kParenOpen, match_mark(text, '(', true, true)},
      {kComma, match_mark(text, ',', true, true)},
      {kParenClose, match_mark(text, ')', true, false)},
      {kBracketOpen, match_mark(text, '[', false, true)},
      {kBracketClose, match_mark(text, ']', true, false)},
      {kBraceOpen, match_mark(text, '{', false, true)},
      {kBraceClose, match_mark(text, '}', true, false)},
      {kColon, match_mark(text, ':', true, true)},
      {kEqual, match_mark(text, '=', true, true)},
      {kReal, match_real(text)},
      {kInteger, match_integer(text)},
      {kBool, std::max(match_word(text, "true"), match_word(text, "false"))},
      {kNull, match_word(text, "null")},
      {kOther, kOtherCharacters.find(at(text, 0)) != std::string_view::npos ? std::size_t{1} : 0},
      {kName, match_name(text)},
      {kEscape, match_escape(text)},
      {kSpace, spaces(text, 0)},
      {kQuoted, match_quoted(text)},
      {kInterpolation, match_interpolation(text)},
  }};
  Match best{kEnd, 0};
  for (const Match& match : matches) {
    if (match.length > best.length) best = match;
  }
  return best;
}

}  // namespace

Result<std::vector<Token>> lex_value(std::string_view line, std::size_t begin,
                                     const SourcePos& pos) {
  std::vector<Token> tokens;
  std::size_t i = spaces(line, begin);
  while (i < line.size()) {
    const Match match = longest(line.substr(i));
    if (match.length == 0) {
      const bool quote = line[i] == '\'' || line[i] == '"';
      Error error =
          quote ? make_error(ErrorKind::kInvalidArgument, "this quote is never closed")
                : make_error(ErrorKind::kInvalidArgument, "a value with '{}' needs quotes",
                             static_cast<unsigned char>(line[i]) < 0x80 ? line.substr(i, 1) : "…");
      if (!quote) error.hint = "quote it once for the shell and once for us: key=\"'…'\"";
      return fail(std::move(error).at(SourcePos{pos.file, pos.line, i + 1}.text()));
    }
    tokens.push_back({match.kind, line.substr(i, match.length), i});
    i += match.length;
  }
  tokens.push_back({TokenKind::kEnd, {}, line.size()});
  return tokens;
}

}  // namespace strata::config::internal
