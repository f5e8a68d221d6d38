// Tokens of an override's value: the longest match at each place wins, as in Hydra's lexer. Private
// to the parser.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"

namespace strata::config::internal {

enum class TokenKind {
  kParenOpen,
  kParenClose,
  kComma,
  kBracketOpen,
  kBracketClose,
  kBraceOpen,
  kBraceClose,
  kColon,
  kEqual,
  kReal,
  kInteger,
  kBool,
  kNull,
  kName,
  kQuoted,
  kInterpolation,
  kEscape,  // pairs of backslash and character
  kSpace,
  kOther,  // one of / - \ + . $ % * @ ? |
  kEnd,
};

struct Token {
  TokenKind kind;
  std::string_view text;  // into the line
  std::size_t begin;      // offset into the line
};

// Tokens of line[begin…], ended by kEnd. `pos` is the line's: its column is replaced by the place
// of an error.
Result<std::vector<Token>> lex_value(std::string_view line, std::size_t begin,
                                     const SourcePos& pos);

}  // namespace strata::config::internal
