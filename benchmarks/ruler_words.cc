#include "benchmarks/ruler_words.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "benchmarks/packed_file.h"
#include "benchmarks/word_lists.h"
#include "core/json_reader.h"

namespace strata {
namespace {

constexpr std::size_t kMaxWordBytes = 200;
constexpr std::size_t kFewestWords = 100;  // example and question, in each split

Status add_word(std::string_view word, const std::string& place, std::vector<std::string>& words) {
  const auto bad = [&](std::string_view got) {
    return fail(make_error(ErrorKind::kInvalidFile, "expected a word of 1 to {} bytes, got {}",
                           kMaxWordBytes, got)
                    .at(place));
  };
  if (word.empty()) return bad("an empty one");
  if (word.size() > kMaxWordBytes) return bad(fmt::format("{}", word.size()));
  if (std::any_of(word.begin(), word.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
    return bad("a control character in it");
  if (find_invalid_utf8(word) != std::string_view::npos) return bad("bytes that are not UTF-8");
  words.emplace_back(word);
  return {};
}

Result<std::vector<std::string>> words_in_json(std::string_view text, const std::string& name) {
  auto parsed = parse_json(text);
  if (!parsed) return fail(std::move(parsed).error().at(name));
  std::vector<std::string> words;
  for (const auto& [key, value] : parsed->items()) {
    const std::string place = fmt::format("{}: item {}", name, key);
    if (!value.is_string())
      return fail(
          make_error(ErrorKind::kInvalidFile, "expected a word, got a {}", value.type_name())
              .at(place));
    RETURN_IF_ERROR(add_word(value.get_ref<const std::string&>(), place, words));
  }
  return words;
}

}  // namespace

Result<std::vector<std::string>> parse_word_file(std::string_view text, const std::string& name) {
  std::vector<std::string> words;
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && (text[first] == '[' || text[first] == '{')) {
    ASSIGN_OR_RETURN(words, words_in_json(text, name));
  } else {
    std::size_t number = 0;
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      ++number;
      while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
      if (!line.empty()) RETURN_IF_ERROR(add_word(line, fmt::format("{}:{}", name, number), words));
    }
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  if (words.size() < kFewestWords)
    return fail(make_error(ErrorKind::kInvalidFile, "expected at least {} different words, got {}",
                           kFewestWords, words.size())
                    .at(name));
  return words;
}

Result<std::vector<std::string>> ruler_words(const RulerConfig& config,
                                             const SampleRequest& request) {
  if (!config.word_file.empty()) {
    auto text = read_maybe_gzip(config.word_file);
    if (!text) return fail(std::move(text).error().at("benchmark.word_file"));
    return parse_word_file(*text, config.word_file);
  }
  std::vector<std::string> words;
  if (config.words == KeyWordSource::kBundled) {
    KeyWords bundled = bundled_key_words();
    words = std::move(bundled.nouns);
    words.insert(words.end(), bundled.adjectives.begin(), bundled.adjectives.end());
  } else {
    auto all = wonder_words(request.data_dir);
    if (!all)
      return fail(std::move(all).error().with_hint(
          "set STRATA_DATA to the folder that holds wonderwords/, or use benchmark.word_file=FILE "
          "or benchmark.words=bundled"));
    words = *std::move(all);
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return words;
}

}  // namespace strata
