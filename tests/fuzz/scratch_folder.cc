#include "tests/fuzz/scratch_folder.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "core/result.h"

namespace strata::fuzz {

ScratchFolder::ScratchFolder() {
  constexpr const char* kMemory = "/dev/shm";
  const std::filesystem::path parent =
      ::access(kMemory, W_OK) == 0 ? kMemory : std::filesystem::temp_directory_path();
  std::string name = (parent / "strata_hostile_XXXXXX").string();
  STRATA_CHECK(::mkdtemp(name.data()) != nullptr, "{}", name);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void ScratchFolder::write(const std::string& name, std::string_view content) const {
  std::ofstream stream(path_ / name, std::ios::binary);
  stream.write(content.data(), static_cast<std::streamsize>(content.size()));
  STRATA_CHECK(stream.good(), "{}", name);
}

void ScratchFolder::remove(const std::string& name) const {
  std::error_code ignored;
  std::filesystem::remove(path_ / name, ignored);
}

}  // namespace strata::fuzz
