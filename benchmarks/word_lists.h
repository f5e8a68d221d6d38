// The words of needle keys ("adjective-noun"), ours or RULER's, and small text helpers for lists.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace strata {

struct KeyWords {
  std::vector<std::string> adjectives;
  std::vector<std::string> nouns;
};
KeyWords bundled_key_words();
// wonderwords/{adjectivelist,nounlist}.txt under data_dir. Errors: not found, empty.
Result<KeyWords> wonder_key_words(const std::filesystem::path& data_dir);
// Nouns, adjectives and verbs of that folder, with repetitions. Errors: the same.
Result<std::vector<std::string>> wonder_words(const std::filesystem::path& data_dir);

// The non-empty parts between separators.
std::vector<std::string> split_text(std::string_view text, char separator);
// Words between white space, in order.
std::vector<std::string> split_words(std::string_view text);

// A whole file of at most `limit` bytes. Errors name the file.
Result<std::string> read_text_file(const std::filesystem::path& path, std::size_t limit);
// The offset of the first byte that is not UTF-8, or npos.
std::size_t find_invalid_utf8(std::string_view text);

}  // namespace strata
