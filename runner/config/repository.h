// The YAML files of the search path: configs by their path ("strategy/periodic"), groups (folders)
// and their options. Each file is read once. Not thread-safe.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"
#include "runner/config/defaults_entry.h"

namespace strata::config {

struct ConfigFile {
  Value content;  // a mapping, without `defaults`
  std::vector<DefaultsEntry> defaults;
  std::optional<std::string> package;  // of the header "# @package NAME"
};

class Repository {
 public:
  explicit Repository(std::vector<std::filesystem::path> search_path);

  // nullptr where no folder of the search path has the file. Pointers hold as long as the
  // repository.
  Result<const ConfigFile*> load(const std::string& config_path);
  bool is_group(const std::string& path) const;
  std::vector<std::string> options(const std::string& group) const;  // sorted
  std::vector<std::string> groups() const;                           // sorted, "a" before "a/b"
  std::string search_path_text() const;

 private:
  std::vector<std::filesystem::path> search_path_;
  std::map<std::string, std::unique_ptr<ConfigFile>> files_;
};

}  // namespace strata::config
