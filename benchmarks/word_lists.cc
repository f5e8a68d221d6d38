#include "benchmarks/word_lists.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <system_error>

namespace strata {
namespace {

constexpr std::string_view kAdjectives =
#include "benchmarks/data/key_adjectives.inc"
    ;
constexpr std::string_view kNouns =
#include "benchmarks/data/key_nouns.inc"
    ;
constexpr std::size_t kMaxWordListBytes = 16U << 20U;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

Result<std::vector<std::string>> read_word_list(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, read_text_file(path, kMaxWordListBytes));
  std::vector<std::string> words;
  for (const std::string& line : split_text(text, '\n')) {
    std::string word;
    for (const std::string& part : split_words(line)) word += (word.empty() ? "" : " ") + part;
    if (!word.empty()) words.push_back(std::move(word));
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  if (words.empty())
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected a word a line, got none").at(path.string()));
  return words;
}

}  // namespace

KeyWords bundled_key_words() { return {split_words(kAdjectives), split_words(kNouns)}; }

Result<KeyWords> wonder_key_words(const std::filesystem::path& data_dir) {
  KeyWords words;
  ASSIGN_OR_RETURN(words.adjectives,
                   read_word_list(data_dir / "wonderwords" / "adjectivelist.txt"));
  ASSIGN_OR_RETURN(words.nouns, read_word_list(data_dir / "wonderwords" / "nounlist.txt"));
  return words;
}

Result<std::vector<std::string>> wonder_words(const std::filesystem::path& data_dir) {
  std::vector<std::string> words;
  for (const char* name : {"nounlist.txt", "adjectivelist.txt", "verblist.txt"}) {
    ASSIGN_OR_RETURN(const auto more, read_word_list(data_dir / "wonderwords" / name));
    words.insert(words.end(), more.begin(), more.end());
  }
  return words;
}

std::vector<std::string> split_text(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    while (begin < text.size() && is_space(text[begin])) ++begin;
    std::size_t end = begin;
    while (end < text.size() && !is_space(text[end])) ++end;
    if (end > begin) words.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

Result<std::string> read_text_file(const std::filesystem::path& path, std::size_t limit) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code))
    return fail(
        make_error(ErrorKind::kNotFound, "expected a file here, found none").at(path.string()));
  const auto size = std::filesystem::file_size(path, code);
  if (code)
    return fail(make_error(ErrorKind::kIo, "cannot read it: {}", code.message()).at(path.string()));
  if (size > limit) {
    return fail(
        make_error(ErrorKind::kInvalidFile, "expected at most {} bytes, got {}", limit, size)
            .at(path.string()));
  }
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  std::string text(size, '\0');
  const std::size_t got = file ? std::fread(text.data(), 1, text.size(), file.get()) : 0;
  if (got != text.size())
    return fail(make_error(ErrorKind::kIo, "read {} of {} bytes", got, size).at(path.string()));
  return text;
}

std::size_t find_invalid_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0) return i;
    for (std::size_t j = 1; j < length; ++j)
      if ((byte(i + j) & 0xC0U) != 0x80) return i;
    const unsigned second = byte(i + 1);  // no overlong forms, surrogates or values past U+10FFFF
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
      return i;
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace strata
