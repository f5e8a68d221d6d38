// The items of one long JSON list, one at a time: what is in memory is an item, not the file.
//
// Finds where each item begins and ends; the item's own text is for parse_json(). Owned by one
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/result.h"

namespace strata {

inline constexpr std::size_t kMaxItemBytes = std::size_t{64} << 20U;

class JsonItems {
 public:
  // Fills the front of the buffer with what follows; how much, 0 at the end.
  using Source = std::function<Result<std::size_t>(std::span<char>)>;
  explicit JsonItems(Source source) : source_(std::move(source)) {}

  // The text of the next item, valid until the next call; none behind the last, where the list has
  // ended and nothing but white space follows. Errors: the source's; kInvalidFile: no list, no
  // comma between two items, a list that is cut off, text behind it, an item above kMaxItemBytes.
  // Bytes are counted from 1. After an error, call no more.
  Result<std::optional<std::string_view>> next();

  std::int64_t count() const { return count_; }           // items handed over
  std::size_t item_begin() const { return item_begin_; }  // byte of the last one, from 1

 private:
  Result<int> peek();        // the next byte, −1 at the end
  Result<int> skip_space();  // and the byte behind it, as peek()
  Result<bool> more_items();
  Status scan_item();
  // Bytes of `piece` until the item has ended, or all.
  std::size_t scan_piece(std::string_view piece);

  Source source_;
  std::string buffer_;
  std::size_t at_ = 0, end_ = 0;  // unread bytes of buffer_
  std::size_t before_ = 0;        // bytes of the text in front of buffer_
  std::string item_;
  std::size_t item_begin_ = 0;
  std::int64_t count_ = 0;
  int depth_ = 0;  // lists and objects that are open in the item
  bool in_string_ = false, escaped_ = false, item_ended_ = false;
};

}  // namespace strata
