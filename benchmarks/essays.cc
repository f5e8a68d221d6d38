#include "benchmarks/essays.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <unordered_map>

#include "benchmarks/bundled_text.h"
#include "benchmarks/word_lists.h"
#include "models/tokenizer/tokenizer.h"

namespace strata {
namespace {

constexpr std::size_t kMaxEssayBytes = 64U << 20U;
constexpr std::size_t kMaxEssayFiles = 10'000;

Error no_essays(const std::filesystem::path& folder, std::string_view why) {
  return make_error(ErrorKind::kNotFound, "expected essays (*.txt), {}", why)
      .at(folder.string())
      .with_hint(
          "set STRATA_DATA to the folder that holds pg_essays/, or use benchmark.haystack=bundled");
}

bool is_space(char c) { return c == ' '; }

bool begins_sentence(std::string_view rest) {
  if (rest.empty()) return true;
  const char c = rest.front();
  if ((c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '"' || c == '\'' || c == '[' ||
      c == '(')
    return true;
  return rest.starts_with("\u201c") || rest.starts_with("\u2018");
}

bool is_abbreviation(std::string_view sentence) {
  static constexpr std::array<std::string_view, 14> kAbbreviations = {
      "Mr.", "Mrs.", "Ms.",  "Dr.",  "Prof.", "St.",  "Jr.",
      "Sr.", "vs.",  "e.g.", "i.e.", "etc.",  "U.S.", "cf."};
  const auto space = sentence.rfind(' ');
  const std::string_view word =
      space == std::string_view::npos ? sentence : sentence.substr(space + 1);
  const bool initial = word.size() == 2 && word[0] >= 'A' && word[0] <= 'Z' && word[1] == '.';
  return initial ||
         std::find(kAbbreviations.begin(), kAbbreviations.end(), word) != kAbbreviations.end();
}

// The end of a sentence whose closing mark is at `at`: past closing quotes and brackets.
std::size_t past_closers(std::string_view text, std::size_t at) {
  static constexpr std::array<std::string_view, 6> kClosers = {"\"", "'",      ")",
                                                               "]",  "\u201d", "\u2019"};
  for (bool more = true; more;) {
    more = false;
    for (std::string_view closer : kClosers) {
      if (!text.substr(at).starts_with(closer)) continue;
      at += closer.size();
      more = true;
    }
  }
  return at;
}

// Marks the sentences of each file that hold part of a span which another file has too; true if
// any.
bool mark_shared(const std::vector<EssaySentence>& sentences, std::vector<bool>& removed) {
  struct Place {
    std::size_t file;
    bool shared;
  };
  std::unordered_map<std::uint64_t, Place> seen;
  Tokens tokens;                   // of the file so far
  std::vector<std::size_t> owner;  // the sentence of each token
  bool marked = false;
  const auto scan = [&](const auto& visit) {
    for (std::size_t i = 0; i < sentences.size(); ++i) {
      if (i > 0 && sentences[i].file != sentences[i - 1].file) tokens.clear(), owner.clear();
      if (removed[i]) continue;
      for (const TokenId id : sentences[i].tokens) {
        tokens.push_back(id);
        owner.push_back(i);
        if (tokens.size() >= kSpanTokens)
          visit(span_hash(tokens.data() + tokens.size() - kSpanTokens), sentences[i].file);
      }
    }
    tokens.clear();
    owner.clear();
  };
  scan([&](std::uint64_t hash, std::size_t file) {
    const auto [place, fresh] = seen.try_emplace(hash, Place{file, false});
    if (!fresh && place->second.file != file) place->second.shared = true;
  });
  std::vector<bool> next = removed;
  scan([&](std::uint64_t hash, std::size_t) {
    if (!seen.at(hash).shared) return;
    next[owner[owner.size() - 1 - kSpanTokens / 2]] = true;  // the sentence of its middle token
    marked = true;
  });
  removed = std::move(next);
  return marked;
}

}  // namespace

std::uint64_t span_hash(const TokenId* tokens) {
  std::uint64_t hash = 0x9E3779B97F4A7C15ULL;
  for (std::size_t i = 0; i < kSpanTokens; ++i) {  // splitmix64's mixing step, a token at a time
    hash += static_cast<std::uint32_t>(tokens[i]) + 0x9E3779B97F4A7C15ULL;
    hash = (hash ^ hash >> 30U) * 0xBF58476D1CE4E5B9ULL;
    hash = (hash ^ hash >> 27U) * 0x94D049BB133111EBULL;
    hash ^= hash >> 31U;
  }
  return hash;
}

Result<std::vector<EssayFile>> read_essays(const std::filesystem::path& data_dir) {
  const auto folder = data_dir / "pg_essays";
  if (data_dir.empty()) return fail(no_essays("pg_essays", "but STRATA_DATA is not set"));
  std::error_code code;
  std::vector<std::filesystem::path> paths;
  for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    const auto& path = entry->path();
    const std::string stem = path.stem().string();
    if (path.extension() == ".txt" && stem != "LICENSE" && stem != "README") paths.push_back(path);
    if (paths.size() > kMaxEssayFiles) break;
  }
  if (code)
    return fail(
        no_essays(folder, fmt::format("but the folder cannot be read: {}", code.message())));
  if (paths.empty()) return fail(no_essays(folder, "found none"));
  std::sort(paths.begin(), paths.end());
  std::vector<EssayFile> files;
  for (const auto& path : paths) {
    ASSIGN_OR_RETURN(const std::string raw, read_text_file(path, kMaxEssayBytes));
    if (const auto bad = find_invalid_utf8(raw); bad != std::string::npos)
      return fail(make_error(ErrorKind::kInvalidFile, "expected UTF-8, byte {} is not", bad)
                      .at(path.string()));
    EssayFile file{path.filename().string(), {}};
    for (const std::string& word : split_words(raw))
      file.text += (file.text.empty() ? "" : " ") + word;
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<std::string> split_sentences(std::string_view text) {
  std::vector<std::string> sentences;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '.' && text[at] != '!' && text[at] != '?') continue;
    const std::size_t end = past_closers(text, at + 1);
    if (end < text.size() && !is_space(text[end])) continue;
    if (!begins_sentence(text.substr(std::min(end + 1, text.size())))) continue;
    if (is_abbreviation(text.substr(begin, end - begin))) continue;
    sentences.emplace_back(text.substr(begin, end - begin));
    begin = std::min(end + 1, text.size());
    at = end;
  }
  if (begin < text.size()) sentences.emplace_back(text.substr(begin));
  return sentences;
}

Result<EssayText> prepare_essays(const std::vector<EssayFile>& files, const Tokenizer& tokenizer,
                                 Split split, std::int64_t block_tokens) {
  std::vector<EssaySentence> all;
  for (std::size_t file = 0; file < files.size(); ++file)
    for (std::string& text : split_sentences(files[file].text)) {
      Tokens tokens = tokenizer.encode_plain(" " + text);
      all.push_back({std::move(text), file, std::move(tokens)});
    }
  std::vector<bool> removed(all.size(), false);
  while (mark_shared(all, removed)) {  // removal makes new neighbours: until nothing is shared
  }
  EssayText out;
  std::vector<std::size_t> sizes;
  for (const EssayFile& file : files) {
    out.files.push_back(file.name);
    sizes.push_back(file.text.size());
  }
  const std::vector<Split> splits = split_by_weight(out.files, sizes);
  out.removed_sentences = std::count(removed.begin(), removed.end(), true);
  std::int64_t in_block = 0;
  std::size_t start = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (removed[i] || splits[all[i].file] != split) continue;
    in_block += static_cast<std::int64_t>(all[i].tokens.size());
    out.sentences.push_back(std::move(all[i]));
    if (in_block < block_tokens) continue;
    out.block_starts.push_back(start);
    start = out.sentences.size();
    in_block = 0;
  }
  if (out.sentences.empty()) {
    return fail(make_error(ErrorKind::kInvalidFile,
                           "expected essays for the {} split, found none among {} files",
                           to_string(split), files.size())
                    .at("pg_essays"));
  }
  if (out.block_starts.empty()) out.block_starts.push_back(0);
  return out;
}

}  // namespace strata
