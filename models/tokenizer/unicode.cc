#include "models/tokenizer/unicode.h"

#include <algorithm>

namespace strata::unicode {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}

// What a lead byte asks for (Unicode, table 3-7): bytes in all, and the range of the second one,
// which shuts out overlong forms, surrogates and code points past U+10FFFF.
struct Lead {
  std::size_t length = 0;  // 0: not a lead byte
  std::uint8_t low = 0x80;
  std::uint8_t high = 0xBF;
};

Lead lead_of(std::uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {.length = 2};
  if (byte == 0xE0) return {.length = 3, .low = 0xA0};
  if (byte == 0xED) return {.length = 3, .high = 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {.length = 3};
  if (byte == 0xF0) return {.length = 4, .low = 0x90};
  if (byte == 0xF4) return {.length = 4, .high = 0x8F};
  if (byte >= 0xF1 && byte <= 0xF3) return {.length = 4};
  return {};
}

std::size_t ascii_prefix(std::string_view text, std::size_t at) {
  while (at < text.size() && byte_at(text, at) < 0x80) ++at;
  return at;
}

}  // namespace

Character first_character(std::string_view text) {
  using State = Character::State;
  const std::uint8_t first = byte_at(text, 0);
  if (first < 0x80) return {State::kComplete, first, 1};
  Lead lead = lead_of(first);
  if (lead.length == 0) return {State::kIllFormed, 0, 1};
  char32_t code = first & (0x7FU >> lead.length);
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {State::kTruncated, 0, i};
    const std::uint8_t next = byte_at(text, i);
    if (next < lead.low || next > lead.high) return {State::kIllFormed, 0, i};
    lead.low = 0x80;
    lead.high = 0xBF;
    code = code << 6 | (next & 0x3FU);
  }
  return {State::kComplete, code, lead.length};
}

bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = ascii_prefix(text, 0); at < text.size(); at = ascii_prefix(text, at)) {
    const Character character = first_character(text.substr(at));
    if (character.state != Character::State::kComplete) return false;
    at += character.length;
  }
  return true;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Character character = first_character(text.substr(at));
    const bool complete = character.state == Character::State::kComplete;
    out += complete ? text.substr(at, character.length) : kReplacement;
    at += character.length;
  }
  return out;
}

void append_utf8(char32_t code, std::string& out) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0U | code >> 6);
  } else {
    if (code < 0x10000) {
      put(0xE0U | code >> 12);
    } else {
      put(0xF0U | code >> 18);
      put(0x80U | (code >> 12 & 0x3FU));
    }
    put(0x80U | (code >> 6 & 0x3FU));
  }
  put(0x80U | (code & 0x3FU));
}

std::uint8_t table_class(char32_t code) {
  const std::span<const std::uint32_t> starts = class_starts();
  const std::uint32_t key = static_cast<std::uint32_t>(code) << 4 | 0xFU;
  const auto after = std::upper_bound(starts.begin(), starts.end(), key);
  return static_cast<std::uint8_t>(*(after - 1) & 0xFU);
}

}  // namespace strata::unicode
