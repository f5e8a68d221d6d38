// Layer-wise alignment of linear branches with a tiny random teacher.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "models/training/branch_training.h"
#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/models/branch_fixture.h"

namespace strata {
namespace {

using testing::branch_parent;
using testing::initial_branch;
using testing::Matrix;

class BranchTrainingTest : public ::testing::Test {
 protected:
  BranchTrainingTest() {
    Rng rng(1, "branch training");
    teacher_ = branch_parent(rng, at::kFloat, true);
    for (int text = 0; text < 6; ++text) {
      Tokens& tokens = texts_.emplace_back();
      for (int i = 0; i < 40; ++i) tokens.push_back(static_cast<TokenId>(rng.below(11)));
    }
  }
  std::vector<LayerBranch> branches(LinearKind kind,
                                    const std::vector<int>& layers = {0, 1, 2}) const {
    std::vector<LayerBranch> out;
    out.reserve(layers.size());
    for (const int layer : layers) out.push_back(initial_branch(*teacher_, layer, {.kind = kind}));
    return out;
  }
  Result<nlohmann::json> train(std::span<LayerBranch> branches, const BranchTraining& how) {
    SilentProgress progress;
    MeteredModel metered(*teacher_);
    Result<nlohmann::json> curve = train_branches(metered, texts_, how, branches, progress);
    meter_ = metered.meter();
    return curve;
  }

  std::unique_ptr<Model> teacher_;
  std::vector<Tokens> texts_;
  Meter meter_;
  testing::TemporaryDirectory folder_;
};

TEST_F(BranchTrainingTest, LowersTheLossOfEveryLayerAndMakesTheSameBytesTwice) {
  for (const auto& [kind, name] : kLinearKinds) {
    std::vector<LayerBranch> once = branches(kind), twice = branches(kind);
    const BranchTraining how{.steps = 80, .batch = 6, .rate = 1e-2};
    const Result<nlohmann::json> curve = train(once, how);
    ASSERT_TRUE(curve) << curve.error().text();
    for (std::size_t layer = 0; layer < 3; ++layer) {
      const double first = curve->front()["loss"][layer], last = curve->back()["loss"][layer];
      EXPECT_LT(last, 0.5 * first) << name << " layer " << layer;
      std::printf("%s layer %zu: %.4f -> %.4f (relative %.3f)\n", std::string(name).c_str(), layer,
                  first, last, curve->back()["relative_loss"][layer].get<double>());
    }
    EXPECT_EQ(*curve, *train(twice, how));
    for (std::size_t b = 0; b < once.size(); ++b) {
      const std::vector<BranchPart> a = once[b].parts(), c = twice[b].parts();
      for (std::size_t p = 0; p < a.size(); ++p) {
        ASSERT_EQ(std::memcmp(a[p].tensor->const_data_ptr(), c[p].tensor->const_data_ptr(),
                              a[p].tensor->nbytes()),
                  0)
            << a[p].name;
        EXPECT_FALSE(a[p].tensor->requires_grad());
      }
    }
  }
}

// Σ over tokens and channels of the difference, with the attention's part out of a run of the whole
// model that writes down what each mixer is given and makes.
TEST_F(BranchTrainingTest, TheLossIsTheMeanSquareOfWhatTheMixerMakesLessTheBranch) {
  std::vector<LayerBranch> some = branches(LinearKind::kGla, {0, 2});
  ForwardHooks hooks;
  for (const int layer : {0, 2})
    for (const Site site : {Site::kResidIn, Site::kMixerOut})
      hooks.captures.push_back({.site = site, .layer = layer});
  const Decoder& decoder = teacher_->decoder();
  const at::NoGradGuard no_grad;
  const AttentionPlan plan = AttentionPlan::full(teacher_->layout());
  Segment segment{
      .chunk = {.begin = 0, .end = 40, .prompt_length = 40, .first_read = 0, .retain = false},
      .plan = std::make_shared<const BoundPlan>(plan, at::TensorOptions(at::kLong)),
      .state = nullptr,
      .rows = {{0, 0}, {0, 0}, {0, 0}}};
  at::Tensor ids = at::empty({40}, at::kInt);
  for (std::int64_t i = 0; i < 40; ++i) ids[i] = texts_[0][static_cast<std::size_t>(i)];
  (void)decoder.run_layers(decoder.embed(ids), 0, 3, std::span(&segment, 1), &hooks);
  std::vector<double> expected;
  for (std::size_t b = 0; b < 2; ++b) {
    const at::Tensor x = hooks.captures[2 * b].value, target = hooks.captures[2 * b + 1].value;
    const at::Tensor& weight =
        decoder.weights().layers[static_cast<std::size_t>(some[b].layer())].input_norm;
    const at::Tensor normed =
        x / (x.square().mean(-1, true) + decoder.architecture().rms_norm_eps).sqrt() * weight;
    const at::Tensor out = some[b].forward(normed.unsqueeze(0), some[b].make_state(1)).out_BNC[0];
    double sum = 0;
    for (std::int64_t n = 0; n < 40; ++n)
      for (std::int64_t c = 0; c < 12; ++c)
        sum += std::pow((out[n][c] - target[n][c]).item<double>(), 2);
    expected.push_back(sum / (40 * 12));
  }
  BranchTrainer trainer(*teacher_, some, {.steps = 1});
  MeteredModel metered(*teacher_);
  const std::span<const TokenId> text = texts_[0];
  const auto losses = trainer.train_step(std::span(&text, 1), metered);
  ASSERT_TRUE(losses) << losses.error().text();
  ASSERT_EQ(losses->size(), 2);
  for (std::size_t b = 0; b < 2; ++b)
    EXPECT_NEAR((*losses)[b].loss, expected[b], 1e-5 * expected[b]);
}

// 12 channels, 4 query and 2 KV heads of 4, MLP of 10; a text of 40, pairs of the model 820.
TEST_F(BranchTrainingTest, CountsTheTeacherUpToTheLastBranchAndTheBranchesBothWays) {
  std::vector<LayerBranch> one = branches(LinearKind::kLightning, {1});
  ASSERT_TRUE(train(one, {.steps = 3, .batch = 2}));
  const double teacher_layer =
      40 * 2.0 * (12 * 16 * 2 + 12 * 8 * 2 + 3 * 12 * 10) + 4 * 820 * 2 * 2 * 4.0;
  const double from_input = 40 * 2.0 * 4 * 192;
  const double behind = 40 * 2.0 * 192 + 4 * (40 * 2 * 2 * 16 + 820 * 2 * 2 * 4.0);
  EXPECT_EQ(meter_.flops, 6 * (2 * teacher_layer + 2 * from_input + 3 * behind));
  EXPECT_EQ(meter_.forward_tokens, 6 * 40);
  EXPECT_EQ(meter_.layer_tokens, 6 * 40 * 2);
  EXPECT_EQ(meter_.backward_tokens, 6 * 40);
  EXPECT_GT(meter_.seconds, 0);
}

TEST_F(BranchTrainingTest, LeavesTheTeacherAndOtherBranchesAsTheyAre) {
  const at::Tensor before = teacher_->decoder().weights().layers[1].q.clone();
  // A branch learns the same whether others learn beside it or not.
  std::vector<LayerBranch> alone = branches(LinearKind::kGatedDeltaNet, {2});
  std::vector<LayerBranch> all = branches(LinearKind::kGatedDeltaNet);
  const BranchTraining how{.steps = 4, .batch = 2};
  ASSERT_TRUE(train(alone, how));
  ASSERT_TRUE(train(all, how));
  for (std::size_t p = 0; p < alone[0].parts().size(); ++p)
    EXPECT_TRUE(at::equal(*alone[0].parts()[p].tensor, *all[2].parts()[p].tensor));
  EXPECT_TRUE(at::equal(teacher_->decoder().weights().layers[1].q, before));
}

TEST_F(BranchTrainingTest, TargetsDifferOnlyBehindANorm) {
  const auto first_loss = [&](BranchTarget target) {
    std::vector<LayerBranch> some = branches(LinearKind::kLightning);
    return (*train(some, {.steps = 1, .target = target}))[0]["loss"][1].get<double>();
  };
  EXPECT_EQ(first_loss(BranchTarget::kMixer), first_loss(BranchTarget::kResidual));
  Architecture a = teacher_->decoder().architecture();
  Weights weights = teacher_->decoder().weights();
  a.sandwich_norms = true;
  for (LayerWeights& w : weights.layers)
    w.mixer_out_norm = w.mlp_out_norm = at::ones({12}, at::kFloat);
  teacher_ = Model::in_memory("with norms", a, weights);
  const double mixer = first_loss(BranchTarget::kMixer);
  const double residual = first_loss(BranchTarget::kResidual);
  EXPECT_GT(std::abs(mixer - residual), 1e-3 * mixer);
  // Two rows of mean square 1 are at most 4 apart.
  EXPECT_LT(residual, 4);
}

TEST_F(BranchTrainingTest, TheRateFallsByACosine) {
  const BranchTraining how{.steps = 101};
  EXPECT_DOUBLE_EQ(cosine_rate(how, 0), 1e-3);
  EXPECT_DOUBLE_EQ(cosine_rate(how, 50), 0.5 * (1e-3 + 1e-5));
  EXPECT_DOUBLE_EQ(cosine_rate(how, 25), 1e-5 + 0.99e-3 * 0.5 * (1 + std::sqrt(0.5)));
  EXPECT_DOUBLE_EQ(cosine_rate(how, 100), 1e-5);
}

// Stops after some steps, as an interrupt does.
class Stopper final : public Progress {
 public:
  explicit Stopper(std::int64_t steps) : left_(steps) {}
  void begin(std::string_view, std::int64_t) override {}
  void advance(std::int64_t steps) override { left_ -= steps; }
  void end() override {}
  bool stop_requested() const override { return left_ <= 0; }

 private:
  std::int64_t left_;
};

TEST_F(BranchTrainingTest, GoesOnFromItsCheckpointToTheSameBits) {
  const BranchTraining how{.steps = 9, .batch = 2, .rate = 1e-2};
  const std::filesystem::path checkpoint = folder_.path() / "state" / "stage1.json";
  const auto run = [&](std::vector<LayerBranch>& some, Progress& progress,
                       const std::filesystem::path& file, const std::string& identity) {
    BranchTrainer trainer(*teacher_, some, how);
    MeteredModel metered(*teacher_);
    const Result<nlohmann::json> curve = train_on_texts(metered, texts_,
                                                        {.title = "branches",
                                                         .steps = how.steps,
                                                         .batch = how.batch,
                                                         .seed = 5,
                                                         .checkpoint = file,
                                                         .identity = identity,
                                                         .seconds_between_checkpoints = 1e9},
                                                        trainer, progress);
    meter_ = metered.meter();
    return curve;
  };
  SilentProgress silent;
  std::vector<LayerBranch> whole = branches(LinearKind::kGla);
  const auto curve = run(whole, silent, {}, "");
  ASSERT_TRUE(curve) << curve.error().text();
  const Meter cost = meter_;
  std::vector<LayerBranch> parts;
  for (const std::int64_t steps : {2, 3}) {
    parts = branches(LinearKind::kGla);
    Stopper stopper(steps + (steps == 3 ? 2 : 0));  // the second is told of the steps done before
    const auto stopped = run(parts, stopper, checkpoint, "mine");
    ASSERT_FALSE(stopped);
    EXPECT_EQ(stopped.error().kind, ErrorKind::kInterrupted);
    EXPECT_EQ(stopped.error().message,
              fmt::format("interrupted after {} of 9 steps of branches", steps == 2 ? 2 : 5));
  }
  parts = branches(LinearKind::kGla);
  const auto finished = run(parts, silent, checkpoint, "mine");
  ASSERT_TRUE(finished) << finished.error().text();
  EXPECT_EQ(*finished, *curve);
  EXPECT_EQ(meter_.flops, cost.flops);
  EXPECT_EQ(meter_.backward_tokens, cost.backward_tokens);
  for (std::size_t b = 0; b < whole.size(); ++b)
    for (std::size_t p = 0; p < whole[b].parts().size(); ++p)
      EXPECT_TRUE(at::equal(*whole[b].parts()[p].tensor, *parts[b].parts()[p].tensor));
  // The state that lies there in the end is the trained one.
  parts = branches(LinearKind::kGla);
  ASSERT_TRUE(run(parts, silent, checkpoint, "mine"));
  EXPECT_TRUE(at::equal(*whole[2].parts()[0].tensor, *parts[2].parts()[0].tensor));

  const auto foreign = run(parts, silent, checkpoint, "another's");
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().text().find("it is of another configuration, model or data"),
            std::string::npos);
  std::filesystem::resize_file(folder_.path() / "state" / "stage1.json.9.safetensors", 1000);
  EXPECT_FALSE(run(parts, silent, checkpoint, "mine"));
}

TEST_F(BranchTrainingTest, NamesWhatItCannotTrainOn) {
  std::vector<LayerBranch> some = branches(LinearKind::kLightning);
  texts_[3].pop_back();
  const auto uneven = train(some, {.steps = 1, .batch = 6});
  ASSERT_FALSE(uneven);
  EXPECT_NE(uneven.error().text().find("expected texts of one length in a step, got"),
            std::string::npos);
  some[1].weights().v.fill_(std::numeric_limits<float>::quiet_NaN());
  const auto broken = train(some, {.steps = 1});
  ASSERT_FALSE(broken);
  EXPECT_TRUE(
      broken.error().text().starts_with("layer 1: the gradient is not finite after 0 steps"))
      << broken.error().text();
}

}  // namespace
}  // namespace strata
