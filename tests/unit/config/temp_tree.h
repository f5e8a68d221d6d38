// A tree of YAML files in a folder of its own that goes away with it.
#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace strata::config {

class TempTree {
 public:
  explicit TempTree(const std::map<std::string, std::string>& files);
  ~TempTree();
  TempTree(const TempTree&) = delete;
  TempTree& operator=(const TempTree&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // `text` with this folder's path cut out, so that messages can be compared.
  std::string without_path(std::string text) const;

 private:
  std::filesystem::path path_;
};

}  // namespace strata::config
