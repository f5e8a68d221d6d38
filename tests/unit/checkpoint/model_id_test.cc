#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/sha256.h"
#include "models/checkpoint/checkpoint.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::safetensors_bytes;
using testing::TemporaryDirectory;
using testing::write_file;

// Each test has its model directory, all written at once and left until the files' times are old
// enough to be trusted.
class ModelIdTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryDirectory>();
    used_ = 0;
    for (int i = 0; i < kTests; ++i) {
      const fs::path model = folder_->path() / std::to_string(i) / "model";
      fs::create_directories(model);
      write_file(model / "config.json", testing::llama_config());
      write_file(model / "model.safetensors", safetensors_bytes(testing::llama_tensors()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  }
  static void TearDownTestSuite() { folder_.reset(); }

  ModelIdTest() : root_(folder_->path() / std::to_string(used_++)) {
    STRATA_CHECK(used_ <= kTests);
  }

  fs::path model() const { return root_ / "model"; }
  fs::path file() const { return model() / "model.safetensors"; }
  fs::path cache() const { return root_ / "cache"; }

  Checkpoint open(bool use_cache = true) const {
    auto checkpoint =
        Checkpoint::open(model(), {.cache_model_id = use_cache, .cache_directory = cache()});
    STRATA_CHECK(checkpoint.has_value(), "{}", checkpoint.error().text());
    return *std::move(checkpoint);
  }

  fs::path cache_file() const {
    for (const auto& entry : fs::directory_iterator(cache())) return entry.path();
    return {};
  }

 private:
  static constexpr int kTests = 8;
  static inline std::unique_ptr<TemporaryDirectory> folder_;
  static inline int used_ = 0;
  fs::path root_;
};

TEST_F(ModelIdTest, TheIdIsTheHashThatTheHeaderFileSays) {
  write_file(file(), safetensors_bytes({{"b", {2}, "U8", 7}, {"a", {}, "F32", 9}}));
  const Checkpoint checkpoint = open(false);
  std::string text;
  const auto number = [&](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  };
  const auto string = [&](const std::string& value) {
    number(value.size());
    text += value;
  };
  string("strata model 1");
  string(checkpoint.architecture().fingerprint());
  number(2);
  string("a"), string("F32"), number(0), string(std::string(4, 9));
  string("b"), string("U8"), number(1), number(2), string(std::string(2, 7));
  EXPECT_EQ(checkpoint.model_id(), sha256_hex(text));
}

TEST_F(ModelIdTest, NameDTypeShapeBytesAndArchitectureEachChangeTheId) {
  std::vector<std::string> ids;
  const auto add = [&](const testing::TestTensor& tensor) {
    write_file(file(), safetensors_bytes({tensor}));
    ids.push_back(open(false).model_id());
  };
  add({"a", {2, 3}});
  add({"b", {2, 3}});
  add({"a", {3, 2}});
  add({"a", {2, 3}, "I32"});
  add({"a", {2, 3}, "F32", 2});
  json config = json::parse(testing::llama_config());
  config["rope_theta"] = 20000;
  write_file(model() / "config.json", config.dump());
  add({"a", {2, 3}});
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
}

TEST_F(ModelIdTest, AnUnchangedModelIsHashedOnce) {
  const std::string id = open(false).model_id();
  EXPECT_FALSE(fs::exists(cache()));
  const Checkpoint first = open();
  EXPECT_EQ(first.model_id(), id);
  EXPECT_FALSE(first.model_id_was_cached());
  const Checkpoint second = open();
  EXPECT_EQ(second.model_id(), id);
  EXPECT_TRUE(second.model_id_was_cached());
  EXPECT_FALSE(open(false).model_id_was_cached());

  // A change of the same size, with its old modification time put back, is seen.
  const auto time = fs::last_write_time(file());
  {
    std::fstream stream(file(), std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(-1, std::ios::end);
    stream.put(5);
  }
  fs::last_write_time(file(), time);
  const Checkpoint changed = open();
  EXPECT_FALSE(changed.model_id_was_cached());
  EXPECT_NE(changed.model_id(), id);
  EXPECT_EQ(changed.model_id(), open(false).model_id());
}

TEST_F(ModelIdTest, AFileWhoseTimesNeedNotShowAnotherChangeIsNotRemembered) {
  fs::last_write_time(file(), fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_FALSE(open().model_id_was_cached());
  EXPECT_FALSE(open().model_id_was_cached());
}

TEST_F(ModelIdTest, AnotherArchitectureIsNotServedFromTheCache) {
  const std::string id = open().model_id();
  json config = json::parse(testing::llama_config());
  config["rms_norm_eps"] = 1e-5;
  write_file(model() / "config.json", config.dump());
  EXPECT_FALSE(open().model_id_was_cached());
  EXPECT_NE(open().model_id(), id);
}

TEST_F(ModelIdTest, ADamagedCacheIsComputedAgainAndRepaired) {
  const std::string id = open().model_id();
  const std::string good = testing::read_file(cache_file());
  json other_key = json::parse(good), bad_id = json::parse(good);
  other_key["key"]["files"][0]["size"] = 1;
  bad_id["model_id"] = "../" + std::string(61, '0');
  for (const std::string& damaged : {std::string(), good.substr(0, good.size() / 2),
                                     std::string("[]"), std::string("{\"key\": {}}"),
                                     other_key.dump(), bad_id.dump(), std::string(2u << 20, ' ')}) {
    write_file(cache_file(), damaged);
    const Checkpoint checkpoint = open();
    EXPECT_FALSE(checkpoint.model_id_was_cached()) << damaged.substr(0, 80);
    EXPECT_EQ(checkpoint.model_id(), id);
    EXPECT_EQ(testing::read_file(cache_file()), good);
  }
  EXPECT_TRUE(open().model_id_was_cached());
}

TEST_F(ModelIdTest, ACacheThatCannotBeWrittenIsNoError) {
  write_file(cache(), "a file where the folder should be");
  EXPECT_FALSE(open().model_id_was_cached());
  EXPECT_FALSE(open().model_id_was_cached());
}

TEST_F(ModelIdTest, TheDefaultPlaceFollowsXdgCacheHome) {
  const char* old = std::getenv("XDG_CACHE_HOME");
  const std::string before = old == nullptr ? "" : old;
  ::setenv("XDG_CACHE_HOME", cache().c_str(), 1);
  EXPECT_FALSE(Checkpoint::open(model())->model_id_was_cached());
  EXPECT_TRUE(Checkpoint::open(model())->model_id_was_cached());
  EXPECT_TRUE(fs::is_directory(cache() / "strata" / "model_ids"));
  old == nullptr ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", before.c_str(), 1);
}

}  // namespace
}  // namespace strata
