// What stands where a file should: a folder, a pipe that nobody writes to, a device without an end,
// a link to itself. Every reader by path refuses it at once, with an error that names it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>

#include "models/checkpoint/hf_config.h"
#include "models/checkpoint/safetensors.h"
#include "models/tokenizer/tokenizer.h"
#include "results/store.h"
#include "runner/config/compose.h"
#include "tests/fuzz/scratch_folder.h"

namespace strata::fuzz {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

template <typename T>
std::string text_of(const Result<T>& result) {
  return result ? "no error" : result.error().text();
}

struct Reader {
  std::string file;
  std::function<std::string(const fs::path& folder)> read;
};

const std::vector<Reader>& readers() {
  static const std::vector<Reader> kReaders{
      {"config.json",
       [](const fs::path& folder) { return text_of(load_architecture(folder / "config.json")); }},
      {"tokenizer.json", [](const fs::path& folder) { return text_of(Tokenizer::load(folder)); }},
      {"a.safetensors",
       [](const fs::path& folder) {
         return text_of(SafetensorsFile::open(folder / "a.safetensors"));
       }},
      {"read.db",
       [](const fs::path& folder) {
         return text_of(Store::open((folder / "read.db").string(), Store::Mode::kReadOnly));
       }},
      {"write.db",
       [](const fs::path& folder) {
         return text_of(Store::open((folder / "write.db").string(), Store::Mode::kReadWrite));
       }},
      {"config.yaml",
       [](const fs::path& folder) { return text_of(config::compose({.search_path = {folder}})); }}};
  return kReaders;
}

void expect_refused(const std::function<void(const fs::path&)>& make) {
  for (const Reader& reader : readers()) {
    const ScratchFolder folder;
    make(folder.path() / reader.file);
    const std::string text = reader.read(folder.path());
    EXPECT_THAT(text, HasSubstr(folder.path().string())) << reader.file;
  }
}

TEST(HostilePaths, AFolderIsRefused) {
  expect_refused([](const fs::path& path) { fs::create_directory(path); });
}

TEST(HostilePaths, APipeIsRefusedAndNotWaitedFor) {
  expect_refused([](const fs::path& path) { ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0); });
}

TEST(HostilePaths, ADeviceWithoutAnEndIsRefused) {
  expect_refused([](const fs::path& path) { fs::create_symlink("/dev/zero", path); });
}

TEST(HostilePaths, ALinkToItselfIsRefused) {
  expect_refused([](const fs::path& path) { fs::create_symlink(path, path); });
}

TEST(HostilePaths, AnEmptyFileIsRefusedButInYamlAndForANewDatabase) {
  for (const Reader& reader : readers()) {
    if (reader.file == "config.yaml" || reader.file == "write.db") continue;
    const ScratchFolder folder;
    folder.write(reader.file, "");
    EXPECT_THAT(reader.read(folder.path()), HasSubstr(folder.path().string())) << reader.file;
  }
}

}  // namespace
}  // namespace strata::fuzz
