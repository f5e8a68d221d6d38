// Hybrids as directories: the same bits again, an id that covers all of it, and names for whatever
// is wrong.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/convert/hybrid_checkpoint.h"
#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/models/branch_fixture.h"

namespace strata {
namespace {

namespace fs = std::filesystem;
using testing::error_text;

const fs::path kFamilies = "tests/golden/families";

class HybridCheckpointTest : public ::testing::Test {
 protected:
  void open(const char* family) {
    Result<std::unique_ptr<Model>> parent = Model::load(kFamilies / family, {});
    ASSERT_TRUE(parent) << parent.error().text();
    parent_ = *std::move(parent);
  }
  std::vector<LayerBranch> branches(const LinearBranchConfig& config) const {
    Rng rng(1, "weights");
    std::vector<LayerBranch> out;
    for (const int layer : {0, 2}) {
      out.push_back(testing::initial_branch(*parent_, layer, config));
      testing::draw_weights(out.back(), rng);
    }
    return out;
  }
  // Layers 0 and 2 as given, layer 1 a window, layer 3 full.
  AttentionPlan plan(const MixerSpec& of_0_and_2) const {
    return *AttentionPlan::from_cells(Granularity::kLayer, parent_->layout(),
                                      {{of_0_and_2, DecodeRule::kSame},
                                       {SlidingWindow{5, 1}, DecodeRule::kSame},
                                       {FullAttention{}, DecodeRule::kSame}},
                                      {0, 1, 0, 2});
  }
  std::vector<TensorView> own_weights() const {
    std::vector<TensorView> views;
    for (const TensorView* view : parent_->checkpoint()->tensors()) views.push_back(*view);
    return views;
  }
  std::string save(std::span<LayerBranch> branches, const AttentionPlan& plan,
                   const fs::path& directory) const {
    const Result<std::string> id = save_hybrid(*parent_->checkpoint(), own_weights(), branches,
                                               plan, {{"method", "test"}}, directory, 5000);
    EXPECT_TRUE(id) << id.error().text();
    return id.value_or("");
  }
  static std::vector<double> score(const Model& model, const AttentionPlan& plan) {
    MeteredModel metered(model);
    Rng rng(3, "text");
    Tokens prompt, answer;
    for (int i = 0; i < 70; ++i) prompt.push_back(static_cast<TokenId>(rng.below(40)));
    for (int i = 0; i < 6; ++i) answer.push_back(static_cast<TokenId>(rng.below(40)));
    const ForcedRequest forced{prompt, answer, &plan};
    return (*metered.score(std::span(&forced, 1)))[0].nll;
  }
  std::unique_ptr<Model> with(std::vector<LayerBranch> branches) const {
    return Model::in_memory("in memory", parent_->decoder().architecture(),
                            parent_->decoder().weights(), std::move(branches));
  }

  std::unique_ptr<Model> parent_;
  testing::TemporaryDirectory folder_;
};

TEST_F(HybridCheckpointTest, ComesBackToTheBitUnderItsOwnPlan) {
  for (const char* family : {"llama_tied", "gemma3", "gpt_oss", "qwen3"})
    for (const auto& [kind, name] : kLinearKinds) {
      open(family);
      std::vector<LayerBranch> written =
          branches({.kind = kind, .gate_rank = 3, .fusion = HeadFusion::kNorm});
      const AttentionPlan own = plan(LinearAttention{kind});
      const fs::path directory = folder_.path() / fmt::format("{} {}", family, name);
      const std::string id = save(written, own, directory);
      const Result<std::unique_ptr<Model>> loaded = Model::load(directory, {});
      ASSERT_TRUE(loaded) << loaded.error().text();
      EXPECT_EQ((*loaded)->id(), id);
      EXPECT_NE(id, parent_->id());
      EXPECT_EQ((*loaded)->native_plan(), own);
      EXPECT_EQ(score(**loaded, own), score(*with(written), own)) << family << " " << name;
      // As a teacher it is the parent.
      const AttentionPlan full = AttentionPlan::full(parent_->layout());
      EXPECT_EQ(score(**loaded, full), score(*parent_, full));
      const auto origin = nlohmann::json::parse(testing::read_file(directory / "strata.json"));
      EXPECT_EQ(origin["parents"], nlohmann::json::array({parent_->id()}));
      EXPECT_EQ(origin["transform"]["method"], "test");
    }
}

TEST_F(HybridCheckpointTest, ItsIdCoversWeightsOptionsAndPlan) {
  open("llama_tied");
  const auto id_of = [&](const LinearBranchConfig& config, const MixerSpec& mixer, int changed) {
    std::vector<LayerBranch> written = branches(config);
    if (changed > 0) written[1].weights().q[0][0] += 1;
    const fs::path directory = folder_.path() / "hybrid";
    fs::remove_all(directory);
    return save(written, plan(mixer), directory);
  };
  const MixerSpec linear = LinearAttention{};
  const std::string id = id_of({}, linear, 0);
  EXPECT_EQ(id_of({}, linear, 0), id);
  EXPECT_NE(id_of({}, linear, 1), id);
  EXPECT_NE(id_of({.scale_query = false}, linear, 0), id);
  EXPECT_NE(id_of({}, FullAttention{}, 0), id);
}

TEST_F(HybridCheckpointTest, WithoutBranchesItIsAModelUnderAPlan) {
  open("qwen3");
  const AttentionPlan own = plan(SlidingWindow{9, 0});
  const fs::path directory = folder_.path() / "windows";
  const std::string id = save({}, own, directory);
  const Result<std::unique_ptr<Model>> loaded = Model::load(directory, {});
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ((*loaded)->id(), id);
  EXPECT_EQ((*loaded)->native_plan(), own);
  EXPECT_EQ(score(**loaded, own), score(*parent_, own));
  EXPECT_FALSE(fs::exists(directory / "branches.json"));
}

TEST_F(HybridCheckpointTest, WhatStrataJsonDoesNotNameMeansNothing) {
  open("qwen3");
  std::vector<LayerBranch> written = branches({});
  const fs::path directory = folder_.path() / "hybrid";
  save(written, plan(LinearAttention{}), directory);
  fs::remove(directory / "strata.json");
  const Result<std::unique_ptr<Model>> loaded = Model::load(directory, {});
  ASSERT_TRUE(loaded) << loaded.error().text();
  EXPECT_EQ((*loaded)->id(), parent_->id());
  EXPECT_EQ((*loaded)->native_plan(), parent_->native_plan());
  EXPECT_EQ((*loaded)->decoder().branch(0), nullptr);
}

TEST_F(HybridCheckpointTest, NamesWhatIsWrongWithIt) {
  open("qwen3");
  std::vector<LayerBranch> written = branches({});
  const fs::path directory = folder_.path() / "hybrid";
  save(written, plan(LinearAttention{}), directory);
  const auto error = [&](const LoadOptions& options = {}) {
    return error_text(Model::load(directory, options), directory);
  };
  const auto with_file = [&](const char* name, const std::string& text) {
    const std::string before = testing::read_file(directory / name);
    testing::write_file(directory / name, text);
    std::string found = error();
    testing::write_file(directory / name, before);
    return found;
  };
  const auto changed = [&](const char* name, const char* pointer, const nlohmann::json& value) {
    auto json = nlohmann::json::parse(testing::read_file(directory / name));
    json[nlohmann::json::json_pointer(pointer)] = value;
    return with_file(name, json.dump());
  };
  const auto contains = [](const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos ? "" : text;
  };
  EXPECT_EQ(error(), "no error");
  for (const nlohmann::json& hybrid :
       {nlohmann::json(3), nlohmann::json::object(), nlohmann::json({{"plan", "x"}}),
        nlohmann::json({{"plan", 1}, {"branches", true}}),
        nlohmann::json({{"plan", "x"}, {"branches", 1}})})
    EXPECT_EQ(contains(changed("strata.json", "/hybrid", hybrid),
                       "DIR/strata.json: field 'hybrid': expected"),
              "");
  EXPECT_EQ(contains(changed("strata.json", "/hybrid/plan", "x"),
                     "DIR/plan.json: expected the plan x that strata.json names"),
            "");
  // A plan that needs what is not there.
  EXPECT_EQ(contains(changed("strata.json", "/hybrid/branches", false),
                     "DIR/plan.json: layer 0 has no trained lightning branch"),
            "");
  EXPECT_EQ(contains(with_file("strata.json", "{"), "DIR/strata.json: "), "");
  EXPECT_EQ(contains(with_file("plan.json", "{"), "DIR/plan.json: "), "");
  EXPECT_EQ(contains(changed("plan.json", "/cells", {{0}}), "DIR/plan.json: plan"), "");
  EXPECT_EQ(contains(changed("branches.json", "/parent", parent_->id() + "x"),
                     "DIR/branches.json: field 'parent'"),
            "");
  EXPECT_EQ(contains(error({.branches = "elsewhere"}),
                     "DIR: the model has branches of its own; expected no others, got elsewhere"),
            "");
  fs::remove(directory / "branches.json");
  EXPECT_EQ(contains(error(), "DIR/branches.json"), "");
  const Result<std::string> again = save_hybrid(*parent_->checkpoint(), own_weights(), written,
                                                plan(LinearAttention{}), {}, directory);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind, ErrorKind::kInvalidArgument);
}

TEST_F(HybridCheckpointTest, BranchesBesideAModelMakeAModelOfAnotherId) {
  open("qwen3");
  const fs::path model = kFamilies / "qwen3";
  const auto saved = [&](const char* name, const LinearBranchConfig& config) {
    std::vector<LayerBranch> written = branches(config);
    const fs::path directory = folder_.path() / name;
    const Status status = save_branches(*parent_, written, directory);
    EXPECT_TRUE(status) << status.error().text();
    return directory;
  };
  const fs::path a = saved("a", {}), b = saved("b", {.max_beta = 2});
  const Result<std::unique_ptr<Model>> with_a = Model::load(model, {.branches = a});
  ASSERT_TRUE(with_a) << with_a.error().text();
  const AttentionPlan own = plan(LinearAttention{});
  EXPECT_EQ(score(**with_a, own), score(*with(branches({})), own));
  EXPECT_EQ((*with_a)->id().size(), 64);
  EXPECT_NE((*with_a)->id(), parent_->id());
  EXPECT_EQ((*with_a)->id(), (*Model::load(model, {.branches = a}))->id());
  EXPECT_NE((*with_a)->id(), (*Model::load(model, {.branches = b}))->id());  // the options count
  EXPECT_EQ((*with_a)->native_plan(), parent_->native_plan());
  EXPECT_NE(error_text(Model::load(kFamilies / "llama_tied", {.branches = a}), a)
                .find("DIR/branches.json: field 'parent'"),
            std::string::npos);
}

}  // namespace
}  // namespace strata
