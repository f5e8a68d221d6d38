// Training of a supernet: its loss and gradients in float64, its paths, what it writes to.
#include "models/training/supernet_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/progress.h"
#include "tests/unit/models/branch_fixture.h"

namespace strata {
namespace {

using Texts = std::vector<std::span<const TokenId>>;
constexpr int kLayers = 4, kLength = 8;

class SupernetTest : public ::testing::TestWithParam<LinearKind> {
 protected:
  SupernetTest() : rng_(5, "supernet") {
    const auto parent = testing::branch_parent(rng_, at::kDouble, /*rich=*/true, kLayers);
    std::vector<LayerBranch> branches;
    for (int layer = 0; layer < kLayers; ++layer) {
      branches.push_back(testing::initial_branch(*parent, layer, {.kind = GetParam()}));
      testing::draw_weights(branches.back(), rng_);
    }
    model_ = Model::in_memory("tiny", parent->decoder().architecture(), parent->decoder().weights(),
                              std::move(branches));
    for (int text = 0; text < 3; ++text) {
      Tokens& tokens = texts_.emplace_back();
      for (int i = 0; i < kLength; ++i) tokens.push_back(static_cast<TokenId>(rng_.below(11)));
    }
  }
  SupernetTrainer trainer(SupernetTraining how = {.steps = 30, .rate = 1e-2, .last_rate = 1e-3}) {
    return SupernetTrainer(*model_, LinearAttention{GetParam()}, how);
  }
  Texts all() const { return {texts_.begin(), texts_.end()}; }
  Mask kept(const std::vector<int>& layers) const {
    return Mask::of_layers(model_->layout(), layers);
  }
  static std::vector<BranchPart> parts_of(const Model& model, std::vector<LayerBranch>& handles) {
    handles.assign(model.decoder().branches().begin(), model.decoder().branches().end());
    std::vector<BranchPart> parts;
    for (LayerBranch& branch : handles)
      for (const BranchPart& part : branch.parts()) parts.push_back(part);
    return parts;
  }

  Rng rng_;
  std::unique_ptr<Model> model_;
  std::vector<Tokens> texts_;
};

TEST_P(SupernetTest, GradientsAreThoseOfFiniteDifferences) {
  SupernetTrainer supernet = trainer();
  MeteredModel meter(*model_);
  const Mask path = kept({2});
  const std::vector<std::vector<double>> found = *supernet.gradients(path, all(), meter);
  std::vector<LayerBranch> handles;
  const std::vector<BranchPart> parts = parts_of(supernet.supernet(), handles);
  ASSERT_EQ(found.size(), parts.size());
  constexpr double kStep = 1e-6;
  double largest = 0;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    double* const weights = parts[p].tensor->detach().mutable_data_ptr<double>();
    if (parts[p].name.starts_with("model.layers.2.")) {  // not on the path
      EXPECT_EQ(found[p], std::vector<double>(found[p].size(), 0.0)) << parts[p].name;
      continue;
    }
    if (parts[p].name.starts_with("model.layers.1.")) continue;  // as layer 0, and as slow
    // First and last number of each weight.
    for (const std::size_t i : {std::size_t{0}, found[p].size() - 1}) {
      const double before = weights[i];
      const auto at = [&](double value) {
        weights[i] = value;
        return *supernet.loss(path, all(), meter);
      };
      const double slope = (at(before + kStep) - at(before - kStep)) / (2 * kStep);
      weights[i] = before;
      EXPECT_NEAR(found[p][i], slope, 1e-8 + 1e-6 * std::abs(slope)) << parts[p].name << " " << i;
      largest = std::max(largest, std::abs(slope));
    }
  }
  EXPECT_GT(largest, 1e-3);
}

// The loss of one linear layer, the top one: its output against the teacher's, by the hooks of a
// layer, not by the trainer's.
TEST_P(SupernetTest, TheLossIsTheDistanceFromFullAttention) {
  SupernetTrainer supernet = trainer();
  MeteredModel meter(*model_);
  const Decoder& decoder = model_->decoder();
  double expected_off = 0, expected_size = 0;
  for (const Tokens& text : texts_) {
    const auto length = static_cast<std::int64_t>(text.size());
    const AttentionPlan full = AttentionPlan::full(model_->layout());
    const Chunk chunk{
        .begin = 0, .end = length, .prompt_length = length, .first_read = 0, .retain = false};
    Segment segment{chunk, decoder.bind(full), nullptr, all_rows(full, chunk)};
    segment.rows.pop_back();
    std::vector<std::int64_t> ids(text.begin(), text.end());
    const at::Tensor x = decoder.run_layers(decoder.embed(at::tensor(ids, at::kLong)), 0,
                                            kLayers - 1, std::span(&segment, 1));
    segment.rows = {{0, 0}};
    const at::Tensor teacher =
        decoder.run_layers(x.clone(), kLayers - 1, kLayers, std::span(&segment, 1));
    const LayerBranch& branch = *decoder.branch(kLayers - 1);
    const at::Tensor student = decoder.finish_layer(
        x.clone(),
        branch.forward(decoder.mixer_input(x, kLayers - 1).unsqueeze(0), branch.make_state(1))
            .out_BNC.squeeze(0),
        kLayers - 1);
    expected_off += (student - teacher).square().sum().item<double>();
    expected_size += teacher.square().sum().item<double>();
  }
  EXPECT_NEAR(*supernet.loss(kept({0, 1, 2}), all(), meter), expected_off / expected_size / kLayers,
              1e-12);
}

TEST_P(SupernetTest, TrainingLowersTheLossOfAllPathsAndLeavesTheModelAlone) {
  const double embedding = model_->decoder().weights().embedding.sum().item<double>();
  std::vector<LayerBranch> handles;
  const at::Tensor weight = parts_of(*model_, handles)[0].tensor->clone();
  SupernetTrainer supernet = trainer();
  MeteredModel meter(*model_);
  const std::vector<Mask> paths = {kept({}), kept({1}), kept({0, 3})};
  std::vector<double> before;
  for (const Mask& path : paths) before.push_back(*supernet.loss(path, all(), meter));
  SilentProgress progress;
  const Meter until_now = meter.meter();
  const auto curve = *train_on_texts(meter, texts_, {.title = "supernet", .steps = 30, .batch = 2},
                                     supernet, progress);
  EXPECT_EQ(curve.size(), 30U);
  EXPECT_EQ((meter.meter() - until_now).backward_tokens, 30 * 2 * kLength);
  for (std::size_t i = 0; i < paths.size(); ++i)
    EXPECT_LT(*supernet.loss(paths[i], all(), meter), 0.95 * before[i]) << i;
  EXPECT_EQ(model_->decoder().weights().embedding.sum().item<double>(), embedding);
  EXPECT_TRUE(parts_of(*model_, handles)[0].tensor->equal(weight));
}

TEST_P(SupernetTest, PathsAreDrawnAnewForEachStepFromTheSeed) {
  SupernetTrainer supernet = trainer({.steps = 1, .full = 0.5, .seed = 7});
  double kept_layers = 0;
  bool differ = false;
  constexpr int kDraws = 400;
  for (int step = 0; step < kDraws; ++step) {
    const Mask path = supernet.path(step);
    EXPECT_LT(path.kept(), kLayers);
    kept_layers += static_cast<double>(path.kept());
    differ |= path != supernet.path(step + 1);
  }
  EXPECT_TRUE(differ);
  EXPECT_EQ(supernet.path(3), trainer({.steps = 1, .full = 0.5, .seed = 7}).path(3));
  // Half of them, but for the one path in 16 that keeps all and is drawn again: 28 of 15 · 4.
  EXPECT_NEAR(kept_layers / kDraws / kLayers, 28.0 / 60, 0.05);
}

INSTANTIATE_TEST_SUITE_P(Kinds, SupernetTest,
                         ::testing::Values(LinearKind::kLightning, LinearKind::kGla,
                                           LinearKind::kGatedDeltaNet));

}  // namespace
}  // namespace strata
