#include "runner/config/repository.h"

#include <fmt/ranges.h>

#include <fstream>
#include <iterator>
#include <set>

#include "runner/config/yaml_reader.h"

namespace strata::config {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxListed =
    10'000;  // entries of a folder; a folder with more is no config group

Result<std::string> read_file(const fs::path& path) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(path, error);
  if (!error && size > kMaxYamlBytes) {
    return fail(make_error(ErrorKind::kInvalidFile, "expected at most {} bytes of YAML, got {}",
                           kMaxYamlBytes, size)
                    .at(path.string()));
  }
  std::ifstream stream(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (error || !stream) return fail(make_error(ErrorKind::kIo, "cannot be read").at(path.string()));
  return text;
}

// "# @package NAME" among the first lines that are empty or begin with "# @".
Result<std::optional<std::string>> package_header(std::string_view text, const std::string& file) {
  std::size_t line_number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    ++line_number;
    std::vector<std::string> words;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    line.remove_prefix(line.find_first_not_of(" \t"));
    if (!line.starts_with('#')) return std::nullopt;
    line.remove_prefix(line.find_first_not_of('#') == std::string_view::npos
                           ? line.size()
                           : line.find_first_not_of('#'));
    while (!line.empty()) {
      const std::size_t begin = line.find_first_not_of(" \t\r");
      if (begin == std::string_view::npos) break;
      line.remove_prefix(begin);
      words.emplace_back(line.substr(0, line.find_first_of(" \t\r")));
      line.remove_prefix(words.back().size());
    }
    if (words.empty() || !words[0].starts_with('@')) return std::nullopt;
    if (words.size() != 2) {
      return fail(make_error(ErrorKind::kInvalidFile, "expected '# @package NAME', got {} words",
                             words.size())
                      .at(SourcePos{file, line_number, 1}.text()));
    }
    if (words[0] == "@package") return words[1];
  }
  return std::nullopt;
}

}  // namespace

Repository::Repository(std::vector<fs::path> search_path) : search_path_(std::move(search_path)) {}

Result<const ConfigFile*> Repository::load(const std::string& config_path) {
  if (const auto found = files_.find(config_path); found != files_.end())
    return found->second.get();
  const std::string name = config_path.ends_with(".yaml") ? config_path : config_path + ".yaml";
  for (const fs::path& folder : search_path_) {
    const fs::path path = folder / name;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) continue;
    ASSIGN_OR_RETURN(const std::string text, read_file(path));
    auto file = std::make_unique<ConfigFile>();
    ASSIGN_OR_RETURN(file->content, read_yaml(text, path.string()));
    ASSIGN_OR_RETURN(file->package, package_header(text, path.string()));
    Map* map = file->content.if_map();
    if (map == nullptr) {
      return fail(make_error(ErrorKind::kInvalidFile, "expected a mapping, got {}",
                             file->content.describe())
                      .at(file->content.pos.text()));
    }
    if (const Value* defaults = map->find("defaults")) {
      ASSIGN_OR_RETURN(file->defaults, parse_defaults(*defaults));
      map->erase("defaults");
    }
    return files_.emplace(config_path, std::move(file)).first->second.get();
  }
  return nullptr;
}

bool Repository::is_group(const std::string& path) const {
  std::error_code error;
  for (const fs::path& folder : search_path_) {
    if (!path.empty() && fs::is_directory(folder / path, error)) return true;
  }
  return false;
}

std::vector<std::string> Repository::options(const std::string& group) const {
  std::set<std::string> names;
  for (const fs::path& folder : search_path_) {
    std::error_code error;
    fs::directory_iterator entry(folder / group, error);
    for (; !error && entry != fs::directory_iterator() && names.size() < kMaxListed;
         entry.increment(error)) {
      std::error_code ignored;
      if (entry->path().extension() == ".yaml" && entry->is_regular_file(ignored)) {
        names.insert(entry->path().stem().string());
      }
    }
  }
  return {names.begin(), names.end()};
}

std::vector<std::string> Repository::groups() const {
  std::set<std::string> names;
  for (const fs::path& folder : search_path_) {
    std::error_code error;
    fs::recursive_directory_iterator entry(folder, error);
    for (; !error && entry != fs::recursive_directory_iterator() && names.size() < kMaxListed;
         entry.increment(error)) {
      std::error_code ignored;
      if (!entry->is_directory(ignored)) continue;
      const std::string group = entry->path().lexically_relative(folder).generic_string();
      if (!options(group).empty()) names.insert(group);
    }
  }
  return {names.begin(), names.end()};
}

std::string Repository::search_path_text() const {
  std::vector<std::string> folders;
  for (const fs::path& folder : search_path_) folders.push_back(folder.string());
  return fmt::format("{}", fmt::join(folders, ", "));
}

}  // namespace strata::config
