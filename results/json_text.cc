#include "results/json_text.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"

namespace strata {
namespace {

using nlohmann::json;

// Discarded: no JSON, or beyond the limits of parse_json.
json parse(std::string_view text) {
  return parse_json(text).value_or(json(json::value_t::discarded));
}

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// The text of plain numbers as json_of writes it, "[1.5,2]" and {"a":1.5}: most of a database is
// that, and a report reads it all. Anything else is left to the parser proper.
class PlainReader {
 public:
  explicit PlainReader(std::string_view text) : at_(text.data()), end_(at_ + text.size()) {}

  bool take(char expected) {
    if (at_ == end_ || *at_ != expected) return false;
    ++at_;
    return true;
  }
  template <typename T>
  bool number(T& out) {
    // JSON's numbers begin with a digit or a minus and a digit, and have no leading zeros.
    const char* const digit = at_ != end_ && *at_ == '-' ? at_ + 1 : at_;
    if (digit == end_ || *digit < '0' || *digit > '9') return false;
    if (*digit == '0' && digit + 1 != end_ && digit[1] >= '0' && digit[1] <= '9') return false;
    const auto [next, error] = std::from_chars(at_, end_, out);
    if (error != std::errc()) return false;
    for (; at_ != next; ++at_)
      if (*at_ == '.' && (at_ + 1 == next || at_[1] < '0' || at_[1] > '9')) return false;
    return true;
  }
  bool name(std::string& out) {
    if (!take('"')) return false;
    const char* const begin = at_;
    while (at_ != end_ &&
           ((*at_ >= 'a' && *at_ <= 'z') || (*at_ >= '0' && *at_ <= '9') || *at_ == '_'))
      ++at_;
    out.assign(begin, at_);
    return take('"');
  }
  bool done() const { return at_ == end_; }

 private:
  const char* at_;
  const char* end_;
};

template <typename T>
bool read_plain(std::string_view text, std::vector<T>& out) {
  PlainReader in(text);
  out.clear();
  if (!in.take('[')) return false;
  if (in.take(']')) return in.done();
  do {
    if (T value{}; in.number(value))
      out.push_back(value);
    else
      return false;
  } while (in.take(','));
  return in.take(']') && in.done();
}

bool read_plain(std::string_view text, std::map<std::string, double>& out) {
  PlainReader in(text);
  out.clear();
  if (!in.take('{')) return false;
  if (in.take('}')) return in.done();
  do {
    std::string name;
    double value = 0;
    if (!in.name(name) || !in.take(':') || !in.number(value)) return false;
    out[std::move(name)] = value;
  } while (in.take(','));
  return in.take('}') && in.done();
}

template <typename T>
bool read_as(std::string_view text, T& out) {
  const json value = parse(text);
  if (value.is_discarded()) return false;
  try {
    out = value.get<T>();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

}  // namespace

Result<std::string> canonical_json(std::string_view text, std::string_view what) {
  if (text.empty()) return std::string("{}");
  const json value = parse(text);
  if (value.is_discarded())
    return fail(ErrorKind::kInvalidArgument, "{}: expected JSON, got '{}'", what,
                text.substr(0, 60));
  return dump(value);
}

std::string json_of(const std::vector<double>& values) { return dump(values); }
std::string json_of(const std::vector<std::string>& values) { return dump(values); }
std::string json_of(const Tokens& values) { return dump(values); }
std::string json_of(const std::map<std::string, double>& values) { return dump(values); }

bool read_json(std::string_view text, std::vector<double>& out) {
  return read_plain(text, out) || read_as(text, out);
}
bool read_json(std::string_view text, std::vector<std::string>& out) { return read_as(text, out); }
bool read_json(std::string_view text, Tokens& out) {
  if (read_plain(text, out)) return true;
  // Not read_as: the library would cut larger numbers down.
  const json value = parse(text);
  if (!value.is_array()) return false;
  out.clear();
  for (const json& token : value) {
    if (!token.is_number_integer() || token < std::numeric_limits<TokenId>::min() ||
        token > std::numeric_limits<TokenId>::max())
      return false;
    out.push_back(token.get<TokenId>());
  }
  return true;
}
bool read_json(std::string_view text, std::map<std::string, double>& out) {
  return read_plain(text, out) || read_as(text, out);
}

}  // namespace strata
