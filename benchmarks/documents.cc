#include "benchmarks/documents.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "benchmarks/packed_file.h"
#include "benchmarks/word_lists.h"
#include "core/json_reader.h"
#include "core/rng.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFiles = 1'000'000;
constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30U;
constexpr std::size_t kMaxLineBytes = std::size_t{64} << 20U;
constexpr int kMaxDepth = 64;

bool is_jsonl(const std::string& name) {
  return name.ends_with(".jsonl") || name.ends_with(".jsonl.gz");
}
bool is_readable(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".txt") || is_jsonl(name);
}

Result<std::vector<fs::path>> files_in(const fs::path& folder, std::uint64_t seed) {
  const auto nothing = [&](std::string_view why) {
    return fail(make_error(ErrorKind::kNotFound,
                           "expected a folder with *.txt, *.jsonl or *.jsonl.gz, {}", why)
                    .at(folder.string()));
  };
  std::error_code code;
  if (fs::is_regular_file(folder, code) && is_readable(folder)) return std::vector{folder};
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    if (entry->is_regular_file(code) && is_readable(entry->path())) files.push_back(entry->path());
    if (files.size() > kMaxFiles)
      return fail(
          make_error(ErrorKind::kInvalidFile, "expected at most {} files, got more", kMaxFiles)
              .at(folder.string()));
  }
  if (code) return nothing(fmt::format("but it cannot be read: {}", code.message()));
  if (files.empty()) return nothing("found none of them");
  std::sort(files.begin(), files.end());
  Rng rng(seed, "files to train on");
  rng.shuffle(files);
  return files;
}

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

Result<std::string> text_of(std::string_view line) {
  if (line.size() > kMaxLineBytes)
    return fail(ErrorKind::kInvalidFile, "expected at most {} bytes a line, got {}", kMaxLineBytes,
                line.size());
  if (const auto bad = find_invalid_utf8(line); bad != std::string_view::npos)
    return fail(ErrorKind::kInvalidFile, "expected UTF-8, byte {} of the line is not", bad + 1);
  ASSIGN_OR_RETURN(
      nlohmann::json object,
      parse_json(line, {.depth = kMaxDepth, .tree_bytes = max_tree_bytes(line.size())}));
  if (!object.is_object())
    return fail(ErrorKind::kInvalidFile, "expected a JSON object, got a {}", object.type_name());
  const auto text = object.find("text");
  if (text == object.end() || !text->is_string())
    return fail(ErrorKind::kInvalidFile, "field 'text': expected a string, got {}",
                text == object.end() ? "none" : fmt::format("a {}", text->type_name()));
  return std::move(text->get_ref<std::string&>());
}

Result<bool> documents_in_file(const fs::path& path,
                               const std::function<Result<bool>(Document)>& take) {
  const std::string name = path.filename().string();
  if (is_jsonl(name)) {
    ASSIGN_OR_RETURN(const std::string text, read_maybe_gzip(path));
    return documents_in_jsonl(text, path.string(), take);
  }
  ASSIGN_OR_RETURN(std::string text, read_text_file(path, kMaxTextBytes));
  if (const auto bad = find_invalid_utf8(text); bad != std::string::npos)
    return fail(make_error(ErrorKind::kInvalidFile, "expected UTF-8, byte {} is not", bad + 1)
                    .at(path.string()));
  if (is_blank(text)) return true;
  return take({name, std::move(text)});
}

}  // namespace

Result<bool> documents_in_jsonl(std::string_view text, const std::string& name,
                                const std::function<Result<bool>(Document)>& take) {
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (is_blank(line)) continue;
    const std::string place = fmt::format("{}:{}", name, number);
    Result<std::string> document = text_of(line);
    if (!document) return fail(std::move(document).error().at(place));
    if (is_blank(*document)) continue;
    ASSIGN_OR_RETURN(const bool more, take({place, *std::move(document)}));
    if (!more) return false;
  }
  return true;
}

Status for_each_document(const fs::path& folder, std::uint64_t seed,
                         const std::function<Result<bool>(Document)>& take) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> files, files_in(folder, seed));
  for (const fs::path& file : files) {
    ASSIGN_OR_RETURN(const bool more, documents_in_file(file, take));
    if (!more) break;
  }
  return {};
}

}  // namespace strata
