// What strangers wrote, made fit to be shown and stored.
#pragma once

#include <string>
#include <string_view>

namespace strata {

// Bytes that are no UTF-8 become U+FFFD.
std::string valid_utf8(std::string_view text);

// valid_utf8() on one line: control characters become spaces; cut after `max_bytes`, at a whole
// character, with "…".
std::string one_line(std::string_view text, std::size_t max_bytes);

}  // namespace strata
