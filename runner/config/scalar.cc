#include "runner/config/scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace strata::config {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_digit_or_underscore(char c) { return is_digit(c) || c == '_'; }

// Takes characters from the front of a text, as a regular expression would.
class Taker {
 public:
  explicit Taker(std::string_view text) : rest_(text) {}
  bool done() const { return rest_.empty(); }
  bool one(std::string_view any_of) {
    if (rest_.empty() || any_of.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  template <typename Accept>
  std::size_t many(Accept accept) {
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), accept);
    const auto taken = static_cast<std::size_t>(end - rest_.begin());
    rest_.remove_prefix(taken);
    return taken;
  }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }

 private:
  std::string_view rest_;
};

std::string without_underscores(std::string_view text) {
  std::string out(text);
  std::erase(out, '_');
  return out;
}

tl::unexpected<Error> does_not_fit(std::string_view text) {
  return fail(ErrorKind::kInvalidArgument, "the number {} does not fit in 64 bits", text);
}

// Digits without sign, prefix and underscores.
Result<Value> integer(std::string_view text, std::string_view digits, int base, bool negative) {
  std::uint64_t magnitude = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return does_not_fit(text);
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (magnitude > kMax + (negative ? 1 : 0)) return does_not_fit(text);
  return Value(static_cast<std::int64_t>(negative ? std::uint64_t{0} - magnitude : magnitude));
}

// ([1-9][0-9_]*)(:[0-5]?[0-9])+ for integers; [0-9]… and a fraction for reals.
bool is_sexagesimal(std::string_view unsigned_text, bool real) {
  Taker taker(unsigned_text);
  if (!real && taker.peek() == '0') return false;
  if (!is_digit(taker.peek()) || taker.many(is_digit_or_underscore) == 0 || taker.peek() != ':')
    return false;
  while (taker.one(":")) {
    const bool low = taker.peek() >= '0' && taker.peek() <= '5';
    const std::size_t digits = taker.many(is_digit);
    if (digits == 0 || digits > 2 || (digits == 2 && !low)) return false;
  }
  if (real && (!taker.one(".") || (taker.many(is_digit_or_underscore), false))) return false;
  return taker.done();
}

// The digits of each place are at most two but the first, so the sum is bounded by the first.
Result<Value> sexagesimal(std::string_view text, std::string_view unsigned_text, bool negative,
                          bool real) {
  const std::string digits = without_underscores(unsigned_text);
  double sum = 0;
  std::size_t begin = 0;
  while (begin <= digits.size()) {
    const std::size_t end = std::min(digits.find(':', begin), digits.size());
    double place = 0;
    std::from_chars(digits.data() + begin, digits.data() + end, place);
    sum = sum * 60 + place;
    begin = end + 1;
  }
  if (negative) sum = -sum;
  if (real) return Value(sum);
  if (sum > 9e15 || sum < -9e15) return does_not_fit(text);
  return Value(static_cast<std::int64_t>(sum));
}

bool is_real(std::string_view text) {
  Taker taker(text);
  if (taker.peek() == '.') {  // neither a sign nor an exponent without one: PyYAML's own asymmetry
    taker.one(".");
    if (!is_digit(taker.peek())) return false;
    taker.many(is_digit_or_underscore);
    if (taker.one("eE") && (!taker.one("+-") || taker.many(is_digit) == 0)) return false;
    return taker.done();
  }
  taker.one("+-");
  if (!is_digit(taker.peek())) return false;
  taker.many(is_digit_or_underscore);
  const bool point = taker.one(".");
  if (point) taker.many(is_digit_or_underscore);
  const bool exponent = taker.one("eE");
  if (exponent && (taker.one("+-"), taker.many(is_digit) == 0)) return false;
  return (point || exponent) && taker.done();
}

Result<Value> real(std::string_view text) {
  std::string digits = without_underscores(text);
  if (digits.starts_with('+')) digits.erase(0, 1);
  double number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return does_not_fit(text);
  return Value(number);
}

std::optional<Value> keyword(std::string_view text) {
  for (const std::string_view name : {"", "~", "null", "Null", "NULL"}) {
    if (text == name) return Value();
  }
  for (const std::string_view name :
       {"yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}) {
    if (text == name) return Value(true);
  }
  for (const std::string_view name :
       {"no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}) {
    if (text == name) return Value(false);
  }
  for (const std::string_view name : {".nan", ".NaN", ".NAN"}) {
    if (text == name) return Value(std::numeric_limits<double>::quiet_NaN());
  }
  const bool negative = text.starts_with('-');
  const std::string_view magnitude = negative || text.starts_with('+') ? text.substr(1) : text;
  for (const std::string_view name : {".inf", ".Inf", ".INF"}) {
    const double infinity = std::numeric_limits<double>::infinity();
    if (magnitude == name) return Value(negative ? -infinity : infinity);
  }
  return std::nullopt;
}

bool only(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

}  // namespace

Result<Value> plain_scalar(std::string_view text) {
  if (auto value = keyword(text)) return *std::move(value);
  const bool negative = text.starts_with('-');
  const std::string_view magnitude = negative || text.starts_with('+') ? text.substr(1) : text;
  if (!is_digit(magnitude.empty() ? '\0' : magnitude.front()) && !text.starts_with('.')) {
    return Value(text);
  }
  if (magnitude.starts_with("0b") && only(magnitude.substr(2), "01_")) {
    return integer(text, without_underscores(magnitude.substr(2)), 2, negative);
  }
  if (magnitude.starts_with("0x") && only(magnitude.substr(2), "0123456789abcdefABCDEF_")) {
    return integer(text, without_underscores(magnitude.substr(2)), 16, negative);
  }
  if (magnitude == "0") return Value(0);
  if (magnitude.starts_with('0') && only(magnitude.substr(1), "01234567_")) {
    return integer(text, without_underscores(magnitude), 8, negative);
  }
  if (!magnitude.starts_with('0') && only(magnitude, "0123456789_")) {
    return integer(text, without_underscores(magnitude), 10, negative);
  }
  if (is_sexagesimal(magnitude, false)) return sexagesimal(text, magnitude, negative, false);
  if (is_sexagesimal(magnitude, true)) return sexagesimal(text, magnitude, negative, true);
  if (is_real(text)) return real(text);
  return Value(text);
}

bool is_clean_text(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      if ((lead < 0x20 && lead != '\t' && lead != '\n' && lead != '\r') || lead == 0x7f)
        return false;
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > text.size() - i) return false;
    std::uint32_t point = lead & (0xffU >> (length + 1));
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0U) != 0x80U) return false;
      point = point << 6U | (next & 0x3fU);
    }
    const bool overlong = (length == 3 && point < 0x800) || (length == 4 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += length;
  }
  return true;
}

}  // namespace strata::config
