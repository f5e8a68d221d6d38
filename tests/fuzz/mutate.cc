#include "tests/fuzz/mutate.h"

#include <algorithm>
#include <array>

#include "core/result.h"

namespace strata::fuzz {
namespace {

// Where parsers treat numbers differently: borders of integer types, of doubles, and what is no
// number.
constexpr std::array<std::string_view, 24> kNumbers{
    "0",          "1",           "2",          "8",
    "16",         "-1",          "-0",         "255",
    "2147483647", "2147483648",  "4294967295", "4294967296",
    "1e3",        "1.5",         "1e400",      "9223372036854775807",
    "1e-400",     "-2147483649", "NaN",        "9223372036854775808",
    "Infinity",   "00",          "0x10",       "18446744073709551616"};
constexpr char kBytesText[] = "0123456789-.eE\"\\/{}[]()<>&*!|?#%@,:;= \t\r\n\0\x7f\x80\xc3\xff";
constexpr std::string_view kBytes(kBytesText, sizeof kBytesText - 1);  // its zero byte too
// A mark that text may begin with; overlong, surrogate and cut-off UTF-8; an escape of half a
// surrogate pair.
constexpr std::array<std::string_view, 6> kEncodings{"\xef\xbb\xbf",     "\xc0\xaf", "\xed\xa0\x80",
                                                     "\xf4\x90\x80\x80", "\xe2\x82", "\\ud800"};
constexpr std::array<std::string_view, 6> kOpenings{"[", "{\"a\":", "{a: ", "[{\"\":", "- ", "("};
constexpr std::size_t kLongest = 1 << 16;  // of what one mutation puts in

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A range of a content that is not empty.
struct Range {
  std::size_t begin;
  std::size_t size;
};
Range any_range(const std::string& content, Rng& rng, std::size_t longest) {
  const std::size_t begin = rng.below(content.size());
  return {begin, 1 + rng.below(std::min(longest, content.size() - begin))};
}

void replace_number(std::string& content, Rng& rng) {
  const std::size_t from = rng.below(content.size());
  auto at = static_cast<std::size_t>(
      std::find_if(content.begin() + static_cast<std::ptrdiff_t>(from), content.end(), is_digit) -
      content.begin());
  if (at == content.size()) at = content.find_first_of("0123456789");
  if (at == std::string::npos) return;
  std::size_t end = at;
  while (end < content.size() && is_digit(content[end])) ++end;
  content.replace(at, end - at, kNumbers[rng.below(kNumbers.size())]);
}

// A quoted string, or the text between separators, by that of another place.
void copy_value(std::string& content, const std::string& other, Rng& rng) {
  constexpr std::string_view kBorders = ",:[]{}\n";
  const auto value_near = [&](const std::string& text) -> Range {
    const std::size_t at = rng.below(text.size());
    const std::size_t before = text.find_last_of(kBorders, at);
    const std::size_t begin = before == std::string::npos ? 0 : before + 1;
    const std::size_t end = std::min(text.find_first_of(kBorders, begin), text.size());
    return {begin, end - begin};
  };
  const Range target = value_near(content);
  const Range source = value_near(other);
  const std::string value = other.substr(source.begin, source.size);
  content.replace(target.begin, target.size, value);
}

void nest(std::string& content, Rng& rng) {
  const std::string_view opening = kOpenings[rng.below(kOpenings.size())];
  const std::size_t depth = std::size_t{1} << rng.below(13);
  std::string text;
  for (std::size_t i = 0; i < depth; ++i) text += opening;
  content.insert(rng.below(content.size() + 1), text);
}

void repeat(std::string& content, Rng& rng) {
  const Range range = any_range(content, rng, 64);
  const std::string piece = content.substr(range.begin, range.size);
  const std::size_t times = std::size_t{1} << rng.below(13);
  std::string text;
  while (text.size() < std::min(kLongest, times * piece.size())) text += piece;
  content.insert(range.begin, text);
}

void swap_line_ends(std::string& content) {
  std::string out;
  for (const char c : content) out += c == '\n' ? std::string("\r\n") : std::string(1, c);
  content = std::move(out);
}

std::uint64_t length_of(const std::string& content) {
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8U | static_cast<unsigned char>(content[i]);
  return length;
}

}  // namespace

Mutator::Mutator(Shape shape, std::vector<std::string> seeds, std::string_view tokens)
    : shape_(shape), seeds_(std::move(seeds)) {
  STRATA_CHECK(!seeds_.empty());
  while (!tokens.empty()) {
    const std::size_t end = std::min(tokens.find(' '), tokens.size());
    if (end > 0) tokens_.emplace_back(tokens.substr(0, end));
    tokens.remove_prefix(std::min(end + 1, tokens.size()));
  }
}

void Mutator::change_text(std::string& content, Rng& rng) const {
  if (content.empty()) content = any_seed(rng);
  const std::size_t at = rng.below(content.size());
  switch (rng.below(17)) {
    case 0: content[at] = static_cast<char>(content[at] ^ 1 << rng.below(8)); break;
    case 1: content[at] = static_cast<char>(rng.below(256)); break;
    case 2: content[at] = kBytes[rng.below(kBytes.size())]; break;
    case 3: content.insert(at, 1, kBytes[rng.below(kBytes.size())]); break;
    case 4: content.erase(at, 1 + rng.below(8)); break;
    case 5: content.erase(at, rng.below(content.size())); break;
    case 6: content.resize(at); break;
    case 7: content.insert(rng.below(content.size()), content.substr(at, rng.below(100))); break;
    case 8: repeat(content, rng); break;
    case 9: nest(content, rng); break;
    case 10: content.insert(at, kEncodings[rng.below(kEncodings.size())]); break;
    case 11: copy_value(content, any_seed(rng), rng); break;
    case 12: copy_value(content, content, rng); break;
    case 13:
      if (!tokens_.empty()) content.insert(at, tokens_[rng.below(tokens_.size())]);
      break;
    case 14: rng.below(8) == 0 ? swap_line_ends(content) : replace_number(content, rng); break;
    case 15:
    case 16: replace_number(content, rng); break;
  }
}

// Changes the JSON and, nearly always, sets the length anew, so that the change gets past the first
// check.
void Mutator::change_header(std::string& content, Rng& rng) const {
  if (content.size() < 8 || length_of(content) > content.size() - 8)
    return change_text(content, rng);
  const auto length = static_cast<std::size_t>(length_of(content));
  std::string header = content.substr(8, length);
  change_text(header, rng);
  std::string out = content.substr(0, 8);
  if (rng.below(20) != 0)
    for (unsigned i = 0; i < 8; ++i)
      out[i] = static_cast<char>(std::uint64_t{header.size()} >> 8 * i & 0xff);
  content = out + header + content.substr(8 + length);
}

std::string Mutator::mutate(std::string content, Rng& rng) const {
  for (std::int64_t changes = rng.between(1, 4); changes > 0; --changes) {
    if (shape_ == Shape::kPages && content.size() >= 512)
      change_pages(content, rng);
    else if (shape_ == Shape::kLengthAndHeader && rng.below(4) != 0)
      change_header(content, rng);
    else
      change_text(content, rng);
  }
  return content;
}

std::string Mutator::next(Rng& rng) const { return mutate(any_seed(rng), rng); }

}  // namespace strata::fuzz
