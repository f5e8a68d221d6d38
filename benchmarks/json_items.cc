#include "benchmarks/json_items.h"

#include <algorithm>

namespace strata {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18U;

bool is_json_space(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

Result<int> JsonItems::peek() {
  if (at_ == end_) {
    buffer_.resize(kBufferBytes);
    before_ += end_;
    at_ = end_ = 0;
    ASSIGN_OR_RETURN(end_, source_(buffer_));
  }
  return at_ == end_ ? -1 : static_cast<unsigned char>(buffer_[at_]);
}

Result<int> JsonItems::skip_space() {
  while (true) {
    ASSIGN_OR_RETURN(const int next, peek());
    if (!is_json_space(next)) return next;
    ++at_;
  }
}

// Steps over what stands between two items.
Result<bool> JsonItems::more_items() {
  const auto wrong = [&](std::string_view expected, int got) {
    const std::size_t byte = before_ + at_ + 1;
    if (got < 0)
      return fail(ErrorKind::kInvalidFile, "expected {}, but the text ends at byte {}", expected,
                  byte - 1);
    const std::string shown = got > 0x20 && got < 0x7f ? fmt::format("'{}'", static_cast<char>(got))
                                                       : fmt::format("byte 0x{:02x}", got);
    return fail(ErrorKind::kInvalidFile, "expected {}, got {} at byte {}", expected, shown, byte);
  };
  ASSIGN_OR_RETURN(int next, skip_space());
  if (count_ == 0) {
    if (next != '[') return wrong("a JSON list of items", next);
    ++at_;
    ASSIGN_OR_RETURN(next, skip_space());
  } else if (next == ',') {
    ++at_;
    ASSIGN_OR_RETURN(next, skip_space());
    if (next < 0 || next == ']' || next == ',') return wrong("an item behind the comma", next);
    return true;
  } else if (next != ']') {
    return wrong("',' or the list's ']' behind the item", next);
  }
  if (next != ']') {
    if (next < 0 || next == ',') return wrong("an item or ']'", next);
    return true;
  }
  ++at_;
  ASSIGN_OR_RETURN(next, skip_space());
  if (next >= 0) return wrong("nothing behind the list", next);
  return false;
}

std::size_t JsonItems::scan_piece(std::string_view piece) {
  for (std::size_t i = 0; i < piece.size(); ++i) {
    const char c = piece[i];
    if (in_string_) {
      if (escaped_)
        escaped_ = false;
      else if (c == '\\')
        escaped_ = true;
      else if (c == '"')
        in_string_ = false;
      continue;
    }
    if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (depth_ == 0 && (c == ',' || c == ']')) {
      item_ended_ = true;  // a number, text or word: the list goes on
      return i;
    } else if ((c == '}' || c == ']') && --depth_ <= 0) {
      item_ended_ = true;
      return i + 1;
    }
  }
  return piece.size();
}

Status JsonItems::scan_item() {
  item_.clear();
  item_begin_ = before_ + at_ + 1;
  depth_ = 0;
  in_string_ = escaped_ = item_ended_ = false;
  while (!item_ended_) {
    ASSIGN_OR_RETURN(const int next, peek());
    if (next < 0)
      return fail(ErrorKind::kInvalidFile,
                  "expected the item's end, but the text ends at byte {} (the item begins at byte "
                  "{})",
                  before_ + at_, item_begin_);
    const std::string_view unread = std::string_view(buffer_).substr(at_, end_ - at_);
    const std::size_t taken = scan_piece(unread);
    if (item_.size() + taken > kMaxItemBytes)
      return fail(ErrorKind::kInvalidFile, "expected at most {} bytes an item, got more",
                  kMaxItemBytes);
    item_.append(unread.substr(0, taken));
    at_ += taken;
  }
  return {};
}

Result<std::optional<std::string_view>> JsonItems::next() {
  ASSIGN_OR_RETURN(const bool more, more_items());
  if (!more) return std::nullopt;
  RETURN_IF_ERROR(scan_item());
  ++count_;
  return std::string_view(item_);
}

}  // namespace strata
