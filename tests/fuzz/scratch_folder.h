// A folder for parsers that read by path, in memory where the system has such a place.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace strata::fuzz {

// Removed with all it holds.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  void write(const std::string& name, std::string_view content) const;
  void remove(const std::string& name) const;

 private:
  std::filesystem::path path_;
};

}  // namespace strata::fuzz
