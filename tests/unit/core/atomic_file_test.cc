#include "core/atomic_file.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace strata {
namespace {

namespace fs = std::filesystem;

class AtomicFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) / "strata_atomic_file";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  static std::string content(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

TEST_F(AtomicFileTest, WritesEveryByteAndLeavesNothingElse) {
  std::string bytes(3 << 20, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 % 251);
  for (const std::string& each : {bytes, std::string("short"), std::string()}) {
    ASSERT_TRUE(write_atomically(folder_ / "state.json", each));
    EXPECT_EQ(content(folder_ / "state.json"), each);
    EXPECT_EQ(files(), 1u);
  }
}

TEST_F(AtomicFileTest, ReplacesWhatACrashLeftOfAnEarlierWrite) {
  std::ofstream(folder_ / "state.json.partial") << "half of an earlier, longer state";
  ASSERT_TRUE(write_atomically(folder_ / "state.json", "new"));
  EXPECT_EQ(content(folder_ / "state.json"), "new");
  EXPECT_EQ(files(), 1u);
}

TEST_F(AtomicFileTest, AFolderThatIsNotThereIsAnErrorWithThePath) {
  const fs::path path = folder_ / "missing" / "state.json";
  const Status status = write_atomically(path, "x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kIo);
  EXPECT_EQ(status.error().text(),
            path.string() + ": cannot create the file: No such file or directory");
}

TEST_F(AtomicFileTest, AFailedWriteKeepsWhatWasThereAndRemovesItsOwn) {
  fs::create_directories(folder_ / "state.json" / "child");  // a folder cannot be replaced
  const Status status = write_atomically(folder_ / "state.json", "x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().where, std::vector<std::string>{(folder_ / "state.json").string()});
  EXPECT_TRUE(status.error().message.starts_with("cannot write the file: "));
  EXPECT_TRUE(fs::is_directory(folder_ / "state.json" / "child"));
  EXPECT_EQ(files(), 1u);
}

}  // namespace
}  // namespace strata
