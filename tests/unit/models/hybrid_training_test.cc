// Training of hybrids with tiny models in float64: gradients against finite differences and against
// one plain graph of the whole model, and what a user relies on of checkpoints and costs.
#include "models/training/hybrid_training.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <map>

#include "models/checkpoint/safetensors.h"
#include "models/cost.h"
#include "models/forward.h"
#include "models/training/save_student.h"
#include "tests/unit/checkpoint/model_files.h"
#include "tests/unit/models/branch_fixture.h"

namespace strata {
namespace {

using Texts = std::vector<std::span<const TokenId>>;

constexpr int kLayers = 4;
constexpr std::int64_t kLength = 24;

class HybridTrainingTest : public ::testing::Test {
 protected:
  HybridTrainingTest() {
    Rng rng(1, "hybrid");
    teacher_ = testing::branch_parent(rng, at::kDouble, /*rich=*/true, kLayers);
    for (int text = 0; text < 5; ++text) {
      Tokens& tokens = texts_.emplace_back();
      for (std::int64_t i = 0; i < kLength; ++i)
        tokens.push_back(static_cast<TokenId>(rng.below(11)));
    }
  }

  // The teacher's weights, in memory of their own, with a branch of random weights a layer.
  std::unique_ptr<Model> start(LinearKind kind, HeadFusion fusion = HeadFusion::kNone) const {
    const Architecture& architecture = teacher_->decoder().architecture();
    Weights weights = teacher_->decoder().weights();
    for (const WeightPart& part : weight_parts(architecture, weights))
      *part.tensor = part.tensor->clone();
    std::vector<LayerBranch> branches;
    Rng rng(2, "branches");
    for (int layer = 0; layer < kLayers; ++layer) {
      branches.push_back(testing::initial_branch(*teacher_, layer,
                                                 {.kind = kind, .gate_rank = 2, .fusion = fusion}));
      testing::draw_weights(branches.back(), rng);
    }
    return Model::in_memory("start", architecture, weights, std::move(branches));
  }

  // Layer 0: linear; 1: its KV heads full and windowed; 2: linear; 3: windowed.
  AttentionPlan mixed(LinearKind kind) const {
    const std::vector<PaletteEntry> palette = {
        {FullAttention{}}, {SlidingWindow{5, 2}}, {LinearAttention{kind}}};
    return *AttentionPlan::from_cells(Granularity::kKvHead, teacher_->layout(), palette,
                                      {2, 2, 0, 1, 2, 2, 1, 1});
  }
  AttentionPlan all(const MixerSpec& mixer) const {
    return *AttentionPlan::from_mask(Mask(Granularity::kLayer, teacher_->layout(), false),
                                     FullAttention{}, mixer, DecodeRule::kSame);
  }
  Texts batch(std::size_t count) const {
    return {texts_.begin(), texts_.begin() + static_cast<std::ptrdiff_t>(count)};
  }

  double loss(const Model& start, const AttentionPlan& plan, const HybridTraining& how,
              const Texts& texts) const {
    MeteredModel metered(*teacher_);
    return *HybridTrainer(*teacher_, start, plan, how).loss(texts, metered);
  }
  // ∂ loss / ∂ weight by name, out of the first moment after one step.
  std::map<std::string, at::Tensor> gradients(const Model& start, const AttentionPlan& plan,
                                              HybridTraining how, const Texts& texts) const {
    how.beta1 = 0.5;
    how.clip = 0;
    MeteredModel metered(*teacher_);
    HybridTrainer trainer(*teacher_, start, plan, how);
    const auto stepped = trainer.step(texts, metered);
    EXPECT_TRUE(stepped) << stepped.error().text();
    const std::filesystem::path file = folder_.path() / "gradients.safetensors";
    EXPECT_TRUE(trainer.save(file));
    const SafetensorsFile written = *SafetensorsFile::open(file);
    std::map<std::string, at::Tensor> out;
    for (const TensorView& view : written.tensors())
      if (const std::string name(view.name); name.starts_with("mean."))
        out[name.substr(5)] =
            at::from_blob(const_cast<std::byte*>(view.bytes.data()), view.shape, at::kDouble)
                .clone() *
            2;
    return out;
  }

  // An entry of every weight that the plan trains; others have none.
  void expect_finite_differences(const Model& model, const AttentionPlan& plan,
                                 const HybridTraining& how) const {
    const Texts text = {batch(1)[0].first(12)};
    const auto got = gradients(model, plan, how, text);
    Rng rng(3, "entries");
    int moved = 0;
    for (auto& [part, tensor] : weights_of(model)) {
      const std::int64_t entry =
          static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(tensor.numel())));
      const at::Tensor weight = tensor.view({-1}).select(0, entry);
      const double value = weight.item<double>(), step = 2e-6;
      weight.fill_(value + step);
      const double above = loss(model, plan, how, text);
      weight.fill_(value - step);
      const double below = loss(model, plan, how, text);
      weight.fill_(value);
      const double expected = (above - below) / (2 * step);
      const double mine =
          got.contains(part) ? got.at(part).view({-1}).select(0, entry).item<double>() : 0;
      EXPECT_NEAR(mine, expected, 1e-8 + 1e-5 * std::abs(expected)) << part << " entry " << entry;
      moved += std::abs(expected) > 1e-7 ? 1 : 0;
    }
    EXPECT_GT(moved, 30);
  }

  // Every weight that a plan of these branches trains, by name, as tensors of `model`.
  static std::map<std::string, at::Tensor> weights_of(const Model& model) {
    std::map<std::string, at::Tensor> out;
    Weights weights = model.decoder().weights();
    for (const WeightPart& part : weight_parts(model.decoder().architecture(), weights))
      out[part.name] = *part.tensor;
    for (LayerBranch branch : model.decoder().branches())
      for (const BranchPart& part : branch.parts()) out[part.name] = *part.tensor;
    return out;
  }

  std::unique_ptr<Model> teacher_;
  std::vector<Tokens> texts_;
  SilentProgress silent_;
  testing::TemporaryDirectory folder_;
};

HybridTraining how_of(HybridLoss loss, TrainedWeights train = TrainedWeights::kAll) {
  return {.steps = 3, .batch = 2, .loss = loss, .temperature = 1.7, .train = train};
}

TEST_F(HybridTrainingTest, GradientsAreFiniteDifferences) {
  for (const auto& [kind, name] : kLinearKinds)
    expect_finite_differences(*start(kind), mixed(kind), how_of(HybridLoss::kDivergence));
  const LinearKind kind = LinearKind::kLightning;
  expect_finite_differences(*start(kind), mixed(kind), how_of(HybridLoss::kNll));
}

// Heads of both kinds in a layer, joined by HydraHead's norm and gains.
TEST_F(HybridTrainingTest, GradientsOfLayersWithHeadsOfBothKindsAreFiniteDifferences) {
  const LinearKind kind = LinearKind::kGla;
  const AttentionPlan plan = *AttentionPlan::from_cells(
      Granularity::kQueryHead, teacher_->layout(),
      {{FullAttention{}}, {SlidingWindow{5, 2}}, {LinearAttention{kind}}},
      {2, 0, 1, 2, 2, 2, 2, 2, 0, 0, 0, 1, 0, 2, 0, 0});
  expect_finite_differences(*start(kind, HeadFusion::kNorm), plan, how_of(HybridLoss::kDivergence));
}

// Scores of every pair with what is not visible left out, in one graph.
at::Tensor plain_attention(const Decoder::Projections& p, const AttentionPlan& plan, int layer) {
  const std::int64_t rows = p.q_NHD.size(0), heads = p.q_NHD.size(1);
  const std::int64_t group = heads / p.k_NGD.size(1);
  std::vector<at::Tensor> out;
  for (std::int64_t h = 0; h < heads; ++h) {
    at::Tensor hidden = at::zeros({rows, rows}, at::kDouble);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < rows; ++j)
        if (!is_visible(plan.entry(layer, static_cast<int>(h)), i, j, rows))
          hidden[i][j] = -std::numeric_limits<double>::infinity();
    const at::Tensor q = p.q_NHD.select(1, h), k = p.k_NGD.select(1, h / group),
                     v = p.v_NGD.select(1, h / group);
    const double scale = 1 / std::sqrt(static_cast<double>(q.size(1)));
    out.push_back(at::matmul(at::softmax(at::matmul(q, k.t()) * scale + hidden, 1), v));
  }
  return at::stack(out, 1);
}

at::Tensor plain_logits(const Model& model, const AttentionPlan& plan,
                        std::span<const TokenId> text) {
  const Decoder& decoder = model.decoder();
  const auto rows = static_cast<std::int64_t>(text.size());
  const Segment segment{
      .chunk = {.begin = 0, .end = rows, .prompt_length = rows, .first_read = 0, .retain = false},
      .plan = nullptr,
      .state = nullptr,
      .rows = {{0, 0}}};
  at::Tensor x = decoder.embed(token_tensor(text, at::kCPU));
  for (int layer = 0; layer < plan.layout().layers; ++layer) {
    if (std::holds_alternative<LinearAttention>(plan.entry(layer, 0).mixer)) {
      const LayerBranch& branch = *decoder.branch(layer);
      const at::Tensor in = decoder.mixer_input(x, layer).unsqueeze(0);
      x = decoder.finish_layer(x, branch.forward(in, branch.make_state(1)).out_BNC[0], layer);
    } else {
      x = decoder.close_layer(x, plain_attention(decoder.project(x, layer, segment), plan, layer),
                              layer);
    }
  }
  return decoder.logits(x);
}

TEST_F(HybridTrainingTest, GradientsAreThoseOfOneGraphOfTheWholeModel) {
  for (const HybridLoss loss_kind : {HybridLoss::kDivergence, HybridLoss::kNll})
    for (const LinearKind kind : {LinearKind::kLightning, LinearKind::kGatedDeltaNet}) {
      const std::unique_ptr<Model> model = start(kind);
      const AttentionPlan plan = mixed(kind);
      HybridTraining how = how_of(loss_kind);
      how.rows_at_once = 2 * kLength;  // two passes
      const auto got = gradients(*model, plan, how, batch(3));

      std::vector<at::Tensor> leaves;
      std::vector<std::string> names;
      for (auto& [name, tensor] : weights_of(*model))
        if (got.contains(name)) {
          leaves.push_back(tensor.requires_grad_(true));
          names.push_back(name);
        }
      at::Tensor sum = at::zeros({}, at::kDouble);
      for (const std::span<const TokenId> text : batch(3)) {
        const at::Tensor logits = plain_logits(*model, plan, text);
        if (loss_kind == HybridLoss::kNll) {
          const at::Tensor next = token_tensor(text.subspan(1), at::kCPU).to(at::kLong);
          sum = sum - at::log_softmax(logits.narrow(0, 0, kLength - 1), 1)
                              .gather(1, next.unsqueeze(1))
                              .sum() /
                          (3.0 * (kLength - 1));
          continue;
        }
        const at::Tensor taught = at::log_softmax(
            plain_logits(*teacher_, teacher_->native_plan(), text).detach() / how.temperature, 1);
        const at::Tensor learnt = at::log_softmax(logits / how.temperature, 1);
        sum = sum + how.temperature * how.temperature * (taught.exp() * (taught - learnt)).sum() /
                        (3.0 * kLength);
      }
      const std::vector<at::Tensor> expected =
          torch::autograd::grad({sum}, leaves, {}, std::nullopt, false, /*allow_unused=*/true);
      for (at::Tensor& leaf : leaves) leaf.requires_grad_(false);
      EXPECT_NEAR(loss(*model, plan, how, batch(3)), sum.item<double>(), 1e-12);
      for (std::size_t i = 0; i < names.size(); ++i) {
        const at::Tensor& mine = got.at(names[i]);
        // What a layer of linear attention does not use of its attention's weights: nothing.
        const at::Tensor other = expected[i].defined() ? expected[i] : at::zeros_like(mine);
        EXPECT_LT((mine - other).abs().max().item<double>(),
                  1e-11 + 1e-9 * other.abs().max().item<double>())
            << names[i];
      }
    }
}

TEST_F(HybridTrainingTest, ADistilledStudentIsCloserToItsTeacherAndInputsStayAsTheyAre) {
  const std::unique_ptr<Model> model = start(LinearKind::kGla);
  const AttentionPlan plan = mixed(LinearKind::kGla);
  std::map<std::string, at::Tensor> before;
  for (const auto& [name, tensor] : weights_of(*model)) before[name] = tensor.clone();
  for (const TrainedWeights train : {TrainedWeights::kBranches, TrainedWeights::kAll}) {
    const HybridTraining how{.steps = 20, .batch = 3, .rate = 3e-2, .train = train};
    MeteredModel metered(*teacher_), again(*teacher_);
    Result<DistilledStudent> student = distil(metered, *model, plan, texts_, how, silent_);
    ASSERT_TRUE(student) << student.error().text();
    ASSERT_EQ(student->losses.size(), 20);
    EXPECT_EQ(student->curve.size(), 20);
    const double first = loss(*model, plan, how, batch(5));
    const double last = loss(*student->model, plan, how, batch(5));
    EXPECT_LT(last, 0.7 * first);
    int changed = 0;
    for (const auto& [name, tensor] : weights_of(*student->model)) {
      EXPECT_FALSE(tensor.requires_grad()) << name;
      const bool same = at::equal(tensor, before[name]);
      changed += same ? 0 : 1;
      const bool is_branch = name.find("linear_attn") != std::string::npos;
      const bool frozen = (train == TrainedWeights::kBranches && !is_branch) ||
                          name.starts_with("model.layers.3.linear_attn");
      EXPECT_TRUE(same || !frozen) << name;
    }
    EXPECT_GT(changed, 10);
    for (const auto& [name, tensor] : weights_of(*model))
      EXPECT_TRUE(at::equal(tensor, before[name])) << name;
    // The same again.
    Result<DistilledStudent> twice = distil(again, *model, plan, texts_, how, silent_);
    ASSERT_TRUE(twice);
    EXPECT_EQ(twice->losses, student->losses);
    EXPECT_EQ(metered.meter().flops, again.meter().flops);
  }
}

TEST_F(HybridTrainingTest, AWindowedControlIsTrainedAlike) {
  const HybridTraining how{.steps = 20, .batch = 3, .rate = 1e-2};
  const AttentionPlan plan = all(SlidingWindow{3, 1});
  MeteredModel metered(*teacher_);
  const Result<DistilledStudent> student = distil(metered, *teacher_, plan, texts_, how, silent_);
  ASSERT_TRUE(student) << student.error().text();
  EXPECT_LT(loss(*student->model, plan, how, batch(5)), 0.5 * loss(*teacher_, plan, how, batch(5)));
}

TEST_F(HybridTrainingTest, AStudentThatKeepsEveryLayerHasNoDivergence) {
  const HybridTraining how{.steps = 1};
  EXPECT_LT(std::abs(loss(*teacher_, AttentionPlan::full(teacher_->layout()), how, batch(2))),
            1e-12);
}

TEST_F(HybridTrainingTest, GoesOnFromACheckpointToTheSameBits) {
  const std::unique_ptr<Model> model = start(LinearKind::kGatedDeltaNet);
  const AttentionPlan plan = mixed(LinearKind::kGatedDeltaNet);
  const HybridTraining how{.steps = 4, .batch = 2, .rate = 1e-2};
  const auto texts_of = [&](std::size_t step) {
    return Texts{texts_[step % 5], texts_[(step + 1) % 5]};
  };
  MeteredModel metered(*teacher_);
  HybridTrainer whole(*teacher_, *model, plan, how), first(*teacher_, *model, plan, how),
      second(*teacher_, *model, plan, how);
  for (std::size_t step = 0; step < 4; ++step) ASSERT_TRUE(whole.step(texts_of(step), metered));
  for (std::size_t step = 0; step < 2; ++step) ASSERT_TRUE(first.step(texts_of(step), metered));
  const std::filesystem::path file = folder_.path() / "state.safetensors";
  ASSERT_TRUE(first.save(file));
  ASSERT_TRUE(second.restore(file));
  EXPECT_EQ(second.steps(), 2);
  for (std::size_t step = 2; step < 4; ++step) ASSERT_TRUE(second.step(texts_of(step), metered));
  const auto expected = weights_of(whole.model());
  for (const auto& [name, tensor] : weights_of(second.model()))
    EXPECT_TRUE(at::equal(tensor, expected.at(name))) << name;
}

TEST_F(HybridTrainingTest, AHalfPrecisionStudentHasItsFullWeightsInTheNextTraining) {
  Rng rng(1, "hybrid");
  teacher_ = testing::branch_parent(rng, at::kBFloat16, /*rich=*/true, kLayers);
  const std::unique_ptr<Model> model = start(LinearKind::kLightning);
  const AttentionPlan plan = mixed(LinearKind::kLightning);
  const HybridTraining how{.steps = 2, .batch = 2, .rate = 1e-3};
  MeteredModel metered(*teacher_);
  HybridTrainer first(*teacher_, *model, plan, how);
  ASSERT_TRUE(first.step(batch(2), metered));
  const std::shared_ptr<const StudentMasters> masters = first.masters();
  const std::unique_ptr<Model> between = std::move(first).release();
  HybridTrainer second(*teacher_, *between, plan, how, masters),
      without(*teacher_, *between, plan, how);
  const auto rounded = weights_of(second.model());
  int finer = 0;
  for (std::size_t i = 0; i < masters->names.size(); ++i) {
    const at::Tensor mine = second.masters()->tensors[i];
    EXPECT_EQ(mine.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(mine, masters->tensors[i])) << masters->names[i];
    EXPECT_TRUE(at::equal(mine.to(at::kBFloat16), rounded.at(masters->names[i])));
    finer += at::equal(mine, without.masters()->tensors[i]) ? 0 : 1;
  }
  EXPECT_GT(finer, 20);
}

// 2 · 12 · 11 FLOPs of the head a row; everything else from models/cost.h and the branch.
TEST_F(HybridTrainingTest, CountsTeacherStudentRecomputationAndBackward) {
  const std::unique_ptr<Model> model = start(LinearKind::kLightning);
  const AttentionPlan plan = mixed(LinearKind::kLightning);
  const Chunk chunk{0, kLength, kLength, 0, false};
  const auto layer_cost = [&](const AttentionPlan& of, int layer) {
    return run_cost(of, model->shape(), chunk, {{0, 0}}, layer).flops;
  };
  const double head = kLength * 2.0 * 12 * 11;
  for (const TrainedWeights train : {TrainedWeights::kBranches, TrainedWeights::kAll}) {
    const double products = train == TrainedWeights::kAll ? 2 : 1;
    double expected = (2 + products) * head;  // teacher, student; back
    for (int layer = 0; layer < kLayers; ++layer) {
      const Flops taught = layer_cost(teacher_->native_plan(), layer);
      const Flops own = layer_cost(plan, layer);
      expected += taught.linear + taught.attention + 2 * (own.linear + own.attention);
      if (layer % 2 == 0) {
        const double branch = model->decoder().branch(layer)->flops(kLength).total();
        expected += 2 * branch + products * (own.linear + own.attention - branch);
      } else {
        expected += products * own.linear + 2.5 * own.attention;
      }
    }
    MeteredModel metered(*teacher_);
    HybridTrainer trainer(*teacher_, *model, plan, {.steps = 1, .batch = 3, .train = train});
    ASSERT_TRUE(trainer.step(batch(3), metered));
    EXPECT_NEAR(metered.meter().flops, 3 * expected, 1e-6 * expected);
    EXPECT_EQ(metered.meter().forward_tokens, 3 * 2 * kLength);
    EXPECT_EQ(metered.meter().backward_tokens, 3 * kLength);
  }
}

TEST_F(HybridTrainingTest, RefusesWhatItCannotTrain) {
  MeteredModel metered(*teacher_);
  const auto message = [&](const Model& from, const AttentionPlan& plan,
                           const HybridTraining& how) {
    const auto result = distil(metered, from, plan, texts_, how, silent_);
    return result ? std::string("it trained") : result.error().text();
  };
  const std::unique_ptr<Model> model = start(LinearKind::kGla);
  EXPECT_NE(
      message(*teacher_, mixed(LinearKind::kGla), {.steps = 1}).find("layer 0 has no trained"),
      std::string::npos);
  EXPECT_NE(
      message(*model, all(SlidingWindow{3, 1}), {.steps = 1, .train = TrainedWeights::kBranches})
          .find("no layer of linear attention"),
      std::string::npos);
  texts_[1].pop_back();
  EXPECT_NE(message(*model, mixed(LinearKind::kGla), {.steps = 1, .batch = 5})
                .find("expected texts of one length"),
            std::string::npos);
}

}  // namespace
}  // namespace strata
