// Directories of trained branches: the same bits again, and names for whatever is wrong with them.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "models/convert/branch_checkpoint.h"
#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/models/branch_fixture.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using testing::error_text;

class BranchCheckpointTest : public ::testing::Test {
 protected:
  BranchCheckpointTest() {
    Rng rng(1, "branch checkpoint");
    parent_ = testing::branch_parent(rng, at::kFloat, true);
  }
  std::vector<LayerBranch> random_branches(LinearKind kind) const {
    Rng rng(2, "weights");
    std::vector<LayerBranch> out;
    for (const int layer : {0, 2}) {
      out.push_back(testing::initial_branch(
          *parent_, layer, {.kind = kind, .gate_rank = 3, .seed = ~std::uint64_t{0}}));
      testing::draw_weights(out.back(), rng);
    }
    return out;
  }
  fs::path saved(LinearKind kind, std::uint64_t max_shard_bytes) const {
    std::vector<LayerBranch> branches = random_branches(kind);
    fs::path directory = folder_.path() / "branches";
    fs::remove_all(directory);
    const Status status = save_branches(*parent_, branches, directory, max_shard_bytes);
    EXPECT_TRUE(status) << status.error().text();
    return directory;
  }
  static std::vector<fs::path> shards(const fs::path& directory) {
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(directory))
      if (entry.path().extension() == ".safetensors") out.push_back(entry.path());
    std::sort(out.begin(), out.end());
    return out;
  }
  std::string load_error(const fs::path& directory) const {
    return error_text(load_branches(*parent_, directory), directory);
  }
  // Of branches.json with a field changed.
  std::string error_with(const fs::path& directory, const std::string& pointer,
                         const nlohmann::json& value) const {
    const std::string text = testing::read_file(directory / "branches.json");
    auto json = nlohmann::json::parse(text);
    json[nlohmann::json::json_pointer(pointer)] = value;
    testing::write_file(directory / "branches.json", json.dump());
    std::string error = load_error(directory);
    testing::write_file(directory / "branches.json", text);
    return error;
  }

  std::unique_ptr<Model> parent_;
  testing::TemporaryDirectory folder_;
};

TEST_F(BranchCheckpointTest, ComesBackToTheBitFromAnyNumberOfShards) {
  for (const auto& [kind, name] : kLinearKinds) {
    std::vector<LayerBranch> written = random_branches(kind);
    std::size_t tensors = 0;
    for (LayerBranch& branch : written) tensors += branch.parts().size();
    for (const std::uint64_t shard_bytes :
         {std::uint64_t{1}, std::uint64_t{2000}, kMaxShardBytes}) {
      const fs::path directory = saved(kind, shard_bytes);
      const std::size_t count = shards(directory).size();
      if (shard_bytes == 1) {
        EXPECT_EQ(count, tensors);
      }
      if (shard_bytes == 2000) {
        EXPECT_GT(count, 1);
        EXPECT_LT(count, tensors);
      }
      if (shard_bytes == kMaxShardBytes) {
        EXPECT_EQ(count, 1);
      }
      Result<std::vector<LayerBranch>> read = load_branches(*parent_, directory);
      ASSERT_TRUE(read) << read.error().text();
      ASSERT_EQ(read->size(), 2);
      for (std::size_t b = 0; b < 2; ++b) {
        EXPECT_EQ((*read)[b].layer(), written[b].layer());
        EXPECT_EQ((*read)[b].config().seed, ~std::uint64_t{0});
        const std::vector<BranchPart> got = (*read)[b].parts(), expected = written[b].parts();
        ASSERT_EQ(got.size(), expected.size());
        for (std::size_t p = 0; p < got.size(); ++p) {
          EXPECT_EQ(got[p].name, expected[p].name);
          ASSERT_EQ(got[p].tensor->nbytes(), expected[p].tensor->nbytes());
          EXPECT_EQ(std::memcmp(got[p].tensor->const_data_ptr(),
                                expected[p].tensor->const_data_ptr(), got[p].tensor->nbytes()),
                    0)
              << got[p].name;
        }
      }
    }
  }
}

TEST_F(BranchCheckpointTest, NamesTheTensorsAsDocumented) {
  const fs::path directory = saved(LinearKind::kGatedDeltaNet, kMaxShardBytes);
  const auto index =
      nlohmann::json::parse(testing::read_file(directory / "branches.safetensors.index.json"));
  EXPECT_EQ(index["weight_map"]["model.layers.2.linear_attn.q_proj.weight"],
            "branches-00001-of-00001.safetensors");
  EXPECT_TRUE(index["weight_map"].contains("model.layers.0.linear_attn.q_conv1d.weight"));
  EXPECT_TRUE(index["weight_map"].contains("model.layers.0.linear_attn.A_log"));
  const auto file = SafetensorsFile::open(shards(directory)[0]);
  ASSERT_TRUE(file);
  std::uint64_t bytes = 0;
  for (const TensorView& tensor : file->tensors()) bytes += tensor.bytes.size();
  EXPECT_EQ(index["metadata"]["total_size"], bytes);
}

TEST_F(BranchCheckpointTest, NamesADamagedOrMissingShard) {
  fs::path directory = saved(LinearKind::kGla, 2000);
  fs::path shard = shards(directory)[1];
  fs::remove(shard);
  EXPECT_NE(load_error(directory).find(shard.filename().string()), std::string::npos);

  directory = saved(LinearKind::kGla, 2000);
  shard = shards(directory)[1];
  fs::resize_file(shard, fs::file_size(shard) - 1);
  EXPECT_NE(load_error(directory).find(shard.filename().string()), std::string::npos);

  // A bit of a weight: every file is well formed.
  directory = saved(LinearKind::kGla, 2000);
  std::string bytes = testing::read_file(shard);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  testing::write_file(shard, bytes);
  EXPECT_NE(load_error(directory).find("DIR: expected tensors of content "), std::string::npos);

  // Shards of two checkpoints under one index.
  directory = saved(LinearKind::kGla, 2000);
  fs::copy_file(shards(directory)[0], shards(directory)[1], fs::copy_options::overwrite_existing);
  EXPECT_NE(load_error(directory).find("field 'weight_map': expected tensor '"), std::string::npos);
}

TEST_F(BranchCheckpointTest, NamesWhatIsWrongInItsDescription) {
  const fs::path directory = saved(LinearKind::kLightning, kMaxShardBytes);
  const auto error = [&](const char* pointer, const nlohmann::json& value) {
    return error_with(directory, pointer, value);
  };
  const auto contains = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos ? "" : text;
  };
  EXPECT_EQ(error("/format", "strata-branches-1"), "no error");
  EXPECT_EQ(contains(error("/format", "strata-branches-2"), "DIR/branches.json: field 'format'"),
            "");
  EXPECT_EQ(contains(error("/parent", "another"), "DIR/branches.json: field 'parent'"), "");
  EXPECT_EQ(contains(error("/dtype", "F64"), "field 'dtype'"), "");
  for (const nlohmann::json& layers :
       {nlohmann::json::array({2, 0}), nlohmann::json::array({0, 3}),
        nlohmann::json::array({-1, 2}), nlohmann::json::array({0, 0}), nlohmann::json::array(),
        nlohmann::json(2), nlohmann::json::array({0, 1.5}),
        nlohmann::json::array({0, std::uint64_t{1} << 63})})
    EXPECT_EQ(contains(error("/layers", layers), "field 'layers': expected"), "");
  EXPECT_EQ(contains(error("/layers", {0}), "got tensor 'model.layers.2.linear_attn."), "");
  EXPECT_EQ(contains(error("/layers", {0, 1, 2}),
                     "expected tensor 'model.layers.1.linear_attn.q_proj.weight' of shape [16, 12] "
                     "in F32, got none"),
            "");
  EXPECT_EQ(contains(error("/config/kind", "hyena"), "config.kind"), "");
  EXPECT_EQ(contains(error("/config/kind", {{"a", 1}}), "config.kind"), "");
  EXPECT_EQ(contains(error("/config/gate_rank", 100000), "config.gate_rank"), "");
  EXPECT_EQ(contains(error("/config/unknown", 1), "unknown"), "");
  EXPECT_EQ(contains(error("/config", nlohmann::json::object()), "field 'config."), "");
  EXPECT_EQ(contains(error("/config", 3), "field 'config'"), "");
  EXPECT_EQ(contains(error("/config/expand_kv_heads", false), "k_proj.weight' of shape [8, 12]"),
            "");
  EXPECT_EQ(contains(error("/content", "0"), "expected tensors of content 0"), "");

  testing::write_file(directory / "branches.json", "{");
  EXPECT_EQ(contains(load_error(directory), "DIR/branches.json: invalid JSON"), "");
  testing::write_file(directory / "branches.json", std::string((1 << 20) + 1, ' '));
  EXPECT_EQ(contains(load_error(directory), "DIR/branches.json: "), "");
  fs::remove(directory / "branches.json");
  EXPECT_EQ(contains(load_error(directory), "DIR/branches.json"), "");
}

TEST_F(BranchCheckpointTest, IsNotWrittenOverSomething) {
  const fs::path directory = saved(LinearKind::kLightning, kMaxShardBytes);
  std::vector<LayerBranch> branches = random_branches(LinearKind::kGla);
  const Status refused = save_branches(*parent_, branches, directory);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kInvalidArgument);
  EXPECT_EQ((*load_branches(*parent_, directory))[0].config().kind, LinearKind::kLightning);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1);
}

}  // namespace
}  // namespace strata
