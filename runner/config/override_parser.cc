#include <algorithm>
#include <charconv>
#include <cmath>

#include "runner/config/override.h"
#include "runner/config/override_functions.h"
#include "runner/config/override_lexer.h"
#include "runner/config/scalar.h"

namespace strata::config {
namespace {

using internal::Argument;
using internal::Token;
using internal::TokenKind;

std::string without_underscores(std::string_view text) {
  std::string out(text);
  std::erase(out, '_');
  if (out.starts_with('+')) out.erase(0, 1);
  return out;
}

// Backslashes right before a quote (or the end) are halved; the odd one out keeps its quote.
std::string unquote(std::string_view text) {
  const char quote = text.front();
  text.remove_prefix(1);
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    std::size_t end = i;
    while (end < text.size() && text[end] == '\\') ++end;
    const std::size_t backslashes = end - i;
    const bool at_quote = end < text.size() && text[end] == quote;
    out.append(at_quote ? backslashes / 2 : backslashes, '\\');
    if (end < text.size() && !(at_quote && end + 1 == text.size())) out += text[end];
    i = end + 1;
  }
  return out;
}

class Parser {
 public:
  Parser(const std::vector<Token>& tokens, const SourcePos& pos) : tokens_(tokens), pos_(pos) {}

  // An element, or the sweep that a function or several elements make.
  Result<Argument> value() {
    ASSIGN_OR_RETURN(Argument first, element(0));
    if (peek().kind != TokenKind::kComma) {
      RETURN_IF_ERROR(expect(TokenKind::kEnd, "',' or the end"));
      return first;
    }
    Sweep sweep;
    RETURN_IF_ERROR(append(sweep, std::move(first)));
    while (accept(TokenKind::kComma)) {
      ASSIGN_OR_RETURN(Argument next, element(0));
      RETURN_IF_ERROR(append(sweep, std::move(next)));
    }
    RETURN_IF_ERROR(expect(TokenKind::kEnd, "',' or the end"));
    return Argument(std::move(sweep));
  }

 private:
  const Token& peek() const { return tokens_[next_]; }
  bool accept(TokenKind kind) {
    if (peek().kind != kind) return false;
    if (kind != TokenKind::kEnd) ++next_;
    return true;
  }
  SourcePos place(const Token& token) const { return {pos_.file, pos_.line, token.begin + 1}; }
  Error error_here(std::string_view expected) const {
    const Token& token = peek();
    const std::string got =
        token.kind == TokenKind::kEnd ? "the end" : fmt::format("'{}'", token.text);
    return make_error(ErrorKind::kInvalidArgument, "expected {}, got {}", expected, got)
        .at(place(token).text());
  }
  Status expect(TokenKind kind, std::string_view what) {
    if (!accept(kind)) return fail(error_here(what));
    return {};
  }

  Status append(Sweep& sweep, Argument argument) const {
    if (auto* value = std::get_if<Value>(&argument)) {
      sweep.values.push_back(std::move(*value));
      return {};
    }
    return fail(make_error(ErrorKind::kInvalidArgument, "a sweep cannot be inside another")
                    .at(pos_.text()));
  }

  Result<Argument> element(std::size_t depth) {
    if (depth > kMaxOverrideDepth) {
      return fail(
          make_error(ErrorKind::kInvalidArgument, "nested deeper than {} levels", kMaxOverrideDepth)
              .at(place(peek()).text()));
    }
    const SourcePos here = place(peek());
    if (peek().kind == TokenKind::kName && tokens_[next_ + 1].kind == TokenKind::kParenOpen)
      return call(depth);
    Value value;
    if (accept(TokenKind::kBracketOpen)) {
      ASSIGN_OR_RETURN(value, list(depth));
    } else if (accept(TokenKind::kBraceOpen)) {
      ASSIGN_OR_RETURN(value, dict(depth));
    } else {
      ASSIGN_OR_RETURN(value, primitive(false));
    }
    value.pos = here;
    return Argument(std::move(value));
  }

  Result<Value> plain_element(std::size_t depth) {
    const std::string here = place(peek()).text();
    ASSIGN_OR_RETURN(Argument argument, element(depth));
    if (auto* value = std::get_if<Value>(&argument)) return std::move(*value);
    return fail(make_error(ErrorKind::kInvalidArgument, "a sweep cannot be inside a list or dict")
                    .at(here));
  }

  Result<Value> list(std::size_t depth) {
    List items;
    if (accept(TokenKind::kBracketClose)) return Value(std::move(items));
    do {
      ASSIGN_OR_RETURN(Value item, plain_element(depth + 1));
      items.push_back(std::move(item));
    } while (accept(TokenKind::kComma));
    RETURN_IF_ERROR(expect(TokenKind::kBracketClose, "',' or ']'"));
    return Value(std::move(items));
  }

  Result<Value> dict(std::size_t depth) {
    Map map;
    if (accept(TokenKind::kBraceClose)) return Value(std::move(map));
    do {
      const SourcePos key_pos = place(peek());
      ASSIGN_OR_RETURN(const Value key, primitive(true));
      RETURN_IF_ERROR(expect(TokenKind::kColon, "':'"));
      ASSIGN_OR_RETURN(Value item, plain_element(depth + 1));
      map.set(key.to_text(), key_pos, std::move(item));
    } while (accept(TokenKind::kComma));
    RETURN_IF_ERROR(expect(TokenKind::kBraceClose, "',' or '}'"));
    return Value(std::move(map));
  }

  Result<Argument> call(std::size_t depth) {
    const SourcePos here = place(peek());
    internal::Call call{std::string(peek().text), {}, {}, here};
    next_ += 2;
    if (!accept(TokenKind::kParenClose)) {
      do {
        std::string name;
        if (peek().kind == TokenKind::kName && tokens_[next_ + 1].kind == TokenKind::kEqual) {
          name = peek().text;
          next_ += 2;
        } else if (!call.named.empty()) {
          return fail(error_here("another name=value"));
        }
        ASSIGN_OR_RETURN(Argument argument, element(depth + 1));
        if (name.empty()) {
          call.positional.push_back(std::move(argument));
        } else {
          call.named.emplace_back(std::move(name), std::move(argument));
        }
      } while (accept(TokenKind::kComma));
      RETURN_IF_ERROR(expect(TokenKind::kParenClose, "',' or ')'"));
    }
    return internal::evaluate(call);
  }

  static bool in_primitive(TokenKind kind, bool key) {
    using enum TokenKind;
    switch (kind) {
      case kReal:
      case kInteger:
      case kBool:
      case kNull:
      case kName:
      case kEscape:
      case kSpace:
      case kOther: return true;
      case kColon:
      case kInterpolation: return !key;
      default: return false;
    }
  }

  // A quoted string, or all tokens up to the next mark: one of them alone has its type, several are
  // a string.
  Result<Value> primitive(bool key) {
    if (!key && peek().kind == TokenKind::kQuoted) return Value(unquote(tokens_[next_++].text));
    std::size_t begin = next_;
    while (in_primitive(peek().kind, key)) ++next_;
    std::size_t end = next_;
    if (begin < end && tokens_[begin].kind == TokenKind::kSpace) ++begin;
    if (begin < end && tokens_[end - 1].kind == TokenKind::kSpace) --end;
    if (begin == end) return fail(error_here(key ? "a key" : "a value"));
    if (end - begin == 1) return single(tokens_[begin]);
    std::string text;
    for (std::size_t i = begin; i < end; ++i) text += unescaped(tokens_[i]);
    return Value(std::move(text));
  }

  static std::string unescaped(const Token& token) {
    if (token.kind != TokenKind::kEscape) return std::string(token.text);
    std::string out;
    for (std::size_t i = 1; i < token.text.size(); i += 2) out += token.text[i];
    return out;
  }

  Result<Value> single(const Token& token) const {
    const std::string digits = without_underscores(token.text);
    const char* const end = digits.data() + digits.size();
    if (token.kind == TokenKind::kNull) return Value();
    if (token.kind == TokenKind::kBool)
      return Value(token.text.front() == 't' || token.text.front() == 'T');
    if (token.kind == TokenKind::kInteger) {
      std::int64_t integer = 0;
      if (std::from_chars(digits.data(), end, integer).ec == std::errc()) return Value(integer);
    } else if (token.kind == TokenKind::kReal) {
      double real = 0;
      if (std::from_chars(digits.data(), end, real).ec == std::errc()) return Value(real);
    } else {
      return Value(unescaped(token));
    }
    return fail(
        make_error(ErrorKind::kInvalidArgument, "the number {} does not fit in 64 bits", token.text)
            .at(place(token).text()));
  }

  const std::vector<Token>& tokens_;
  const SourcePos& pos_;
  std::size_t next_ = 0;
};

bool is_key_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '$';
}

// Names with dots (a key or package) or slashes (a group) between them; lists are reached by number
// ("a.0").
bool is_key(std::string_view text, char separator) {
  for (bool first = true; first || !text.empty(); first = false) {
    const std::size_t end = std::min(text.find(separator), text.size());
    const std::string_view part = text.substr(0, end);
    if (part.empty() || part.front() == '-' ||
        !std::all_of(part.begin(), part.end(), is_key_character))
      return false;
    const bool number = part.find_first_not_of("0123456789") == std::string_view::npos;
    if (part.front() >= '0' && part.front() <= '9' && (first || !number)) return false;
    if (end + 1 == text.size()) return false;  // ends with the separator
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return true;
}

Status parse_key(Override& out, std::string_view key, std::size_t begin) {
  const auto bad = [&](std::string_view what) {
    return fail(
        make_error(ErrorKind::kInvalidArgument, "expected {}, got '{}'", what, key)
            .at(SourcePos{out.key_pos.file, 0, begin + 1}.text())
            .with_hint(
                "overrides look like key=value, +key=value, ++key=value, ~key or group=option"));
  };
  const std::size_t at = key.find('@');
  const std::string_view name = key.substr(0, at);
  if (!is_key(name, '.') && !is_key(name, '/'))
    return bad("a key such as a.b or a group such as a/b");
  out.key = name;
  if (at != std::string_view::npos) {
    const std::string_view package = key.substr(at + 1);
    if (!package.empty() && !is_key(package, '.')) return bad("a package such as a.b after '@'");
    out.package = package;
  }
  out.key_pos.column = begin + 1;
  return {};
}

// Alone and among others: "\\" would swallow a comma that follows it.
bool is_safe_unquoted(const std::string& text, const Value& value) {
  const auto alone = parse_element(text, {});
  const auto among = parse_element(fmt::format("[{0},{0}]", text), {});
  return alone && *alone == value && among && *among == Value(List{value, value});
}

std::string escaped_key(const std::string& key) {
  std::string out;
  for (const char c : key) {
    if (std::string_view("\\()[]{}:=, \t").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string Override::prefixed_key() const {
  static constexpr std::string_view kPrefixes[] = {"", "+", "++", "~"};
  std::string out = std::string(kPrefixes[static_cast<std::size_t>(kind)]) + key;
  return package ? out + '@' + *package : out;
}

Result<Override> parse_override(const std::string& line) {
  Override out;
  out.line = line;
  if (line.size() > kMaxOverrideBytes || !is_clean_text(line)) {
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected at most {} bytes of UTF-8 text without control characters",
                           kMaxOverrideBytes)
                    .at("command line"));
  }
  out.key_pos = {fmt::format("command line: '{}'", line), 0, 1};
  std::size_t begin = 0;
  if (line.starts_with('~')) {
    out.kind = OverrideKind::kDelete;
    begin = 1;
  } else if (line.starts_with('+')) {
    out.kind = line.starts_with("++") ? OverrideKind::kForceAdd : OverrideKind::kAdd;
    begin = line.starts_with("++") ? 2 : 1;
  }
  const std::size_t equal = line.find('=');
  RETURN_IF_ERROR(parse_key(
      out, std::string_view(line).substr(begin, equal == std::string::npos ? equal : equal - begin),
      begin));
  if (equal == std::string::npos) {
    if (out.kind == OverrideKind::kDelete) return out;
    return fail(make_error(ErrorKind::kInvalidArgument, "expected '=' and a value, got the end")
                    .at(SourcePos{out.key_pos.file, 0, line.size() + 1}.text()));
  }
  SourcePos pos{out.key_pos.file, 0, equal + 2};
  ASSIGN_OR_RETURN(const auto tokens, internal::lex_value(line, equal + 1, pos));
  if (tokens.size() == 1) {  // "key=": the empty string
    Value empty("");
    empty.pos = pos;
    out.value = std::move(empty);
    return out;
  }
  ASSIGN_OR_RETURN(Argument argument, Parser(tokens, pos).value());
  std::visit([&](auto& value) { out.value = std::move(value); }, argument);
  return out;
}

Result<Value> parse_element(const std::string& text, const SourcePos& pos) {
  ASSIGN_OR_RETURN(const auto tokens, internal::lex_value(text, 0, pos));
  ASSIGN_OR_RETURN(Argument argument, Parser(tokens, pos).value());
  if (auto* value = std::get_if<Value>(&argument)) return std::move(*value);
  return fail(
      make_error(ErrorKind::kInvalidArgument, "expected one value, got a sweep in '{}'", text)
          .at(pos.text()));
}

std::string override_text(const Value& value) {
  if (const double* real = value.if_double()) {
    if (std::isnan(*real)) return "nan";
    return std::isinf(*real) ? (*real > 0 ? "inf" : "-inf") : real_text(*real);
  }
  std::string out;
  if (const List* list = value.if_list()) {
    for (const Value& item : *list) out += (out.empty() ? "" : ",") + override_text(item);
    return '[' + out + ']';
  }
  if (const Map* map = value.if_map()) {
    for (const MapEntry& entry : *map) {
      out += (out.empty() ? "" : ",") + escaped_key(entry.key) + ':' + override_text(entry.value);
    }
    return '{' + out + '}';
  }
  const std::string* text = value.if_string();
  if (text == nullptr) return value.to_text();
  if (is_safe_unquoted(*text, value)) return *text;
  std::size_t backslashes = 0;  // those before a quote or the end are doubled
  for (const char c : *text + '\'') {
    if (c == '\'') out.append(backslashes, '\\');
    backslashes = c == '\\' ? backslashes + 1 : 0;
    if (c == '\'') out += '\\';
    out += c;
  }
  out.erase(out.size() - 2);  // the end's own quote and its backslash
  return '\'' + out + '\'';
}

}  // namespace strata::config
