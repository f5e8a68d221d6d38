// Gates between full attention and linear branches: against a forward pass by hand, the scoring
// passes and finite differences, in float64.
#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "models/cost.h"
#include "models/forward.h"
#include "models/linear_cost.h"
#include "tests/unit/models/branch_fixture.h"
#include "tests/unit/models/gated_pass_fixture.h"

namespace strata::testing {
namespace {

constexpr LinearKind kKinds[] = {LinearKind::kLightning, LinearKind::kGla,
                                 LinearKind::kGatedDeltaNet};
constexpr int kDepth = 3;
constexpr std::int64_t kRows = 73;  // more than a chunk of the recurrence

// Weights of every branch are random, some parts left out in some layers.
std::unique_ptr<Model> with_branches(LinearKind kind, at::Device device, bool rich = true) {
  Rng rng(21, "gated linear");
  const std::unique_ptr<Model> made = branch_parent(rng, at::kDouble, rich, kDepth);
  const Architecture& architecture = made->decoder().architecture();
  const Weights weights = to_device(made->decoder().weights(), device);
  const std::unique_ptr<Model> parent = Model::in_memory("parent", architecture, weights);
  std::vector<LayerBranch> branches;
  for (int layer = 0; layer < kDepth; ++layer) {
    LinearBranchConfig config{.kind = kind};
    config.expand_kv_heads = layer != 1;
    config.output_gate = layer != 2;
    config.rope = layer != 0;
    branches.push_back(initial_branch(*parent, layer, config));
    for (const BranchPart& part : branches.back().parts())
      part.tensor->add_(normal_tensor(part.tensor->sizes(), rng, 0.1).to(device));
  }
  return Model::in_memory("branched", architecture, weights, std::move(branches));
}

class GatedLinearTest : public GatedPassFixture {
 protected:
  void SetUp() override {
    GatedPassFixture::SetUp();
    if (IsSkipped()) return;
    Rng rng(5, "text");
    prompt_.clear();
    while (prompt_.size() + answer_.size() <= static_cast<std::size_t>(kRows))
      prompt_.push_back(static_cast<TokenId>(rng.below(11)));
  }

  GatedAttention mixing(LinearKind kind, Granularity granularity = Granularity::kLayer) {
    model_ = with_branches(kind, device());
    GatedAttention gated = attention(granularity, DecodeRule::kSame);
    gated.cheap = LinearAttention{kind};
    return gated;
  }
  // The fixture's, for a loss that may need a teacher.
  GatedRequest taught(PassLoss loss, std::int64_t scored = 0, Alignment alignment = {}) {
    GatedRequest request = this->request({});
    request.loss = loss;
    request.scored = scored;
    request.alignment = alignment;
    if (loss == PassLoss::kNll) return request;
    MeteredModel model(*model_);
    teachers_.push_back((*teacher_rows(model, {&request, 1}, {}, silent_))[0]);
    request.teacher = &teachers_.back();
    return request;
  }
  // Layer l adds g_l · attention + (1 − g_l) · branch; the attention may be the unmixed model's.
  struct ByHand {
    std::vector<double> nll;  // at each answer position
    double alignment = 0;
  };
  ByHand by_hand(const std::vector<double>& gates, bool from_teacher) const;
  // Gradients against central differences.
  void expect_slopes(const GatedAttention& gated, GatedRequest request,
                     const std::vector<double>& gates, std::uint64_t memory = kEnough) const;

  std::deque<TeacherRows> teachers_;
};

GatedLinearTest::ByHand GatedLinearTest::by_hand(const std::vector<double>& gates,
                                                 bool from_teacher) const {
  const Decoder& decoder = model_->decoder();
  Tokens text = prompt_;
  text.insert(text.end(), answer_.begin(), answer_.end() - 1);
  const auto rows = static_cast<std::int64_t>(text.size());
  const auto prompt = static_cast<std::int64_t>(prompt_.size());
  const auto answer = static_cast<std::int64_t>(answer_.size());
  const auto attention_of = [&](const at::Tensor& x_NC, int layer) {
    Segment segment{{0, rows, prompt, 0, false},
                    decoder.bind(AttentionPlan::full(model_->layout())),
                    nullptr,
                    {{0, 0}}};
    ForwardHooks hooks;
    hooks.captures.push_back({Site::kMixerOut, layer, {}, {}});
    decoder.run_layers(x_NC, layer, layer + 1, {&segment, 1}, &hooks);
    return hooks.captures[0].value;
  };
  ByHand result;
  at::Tensor x_NC = decoder.embed(token_tensor(text, device())), teacher_NC = x_NC;
  for (int layer = 0; layer < kDepth; ++layer) {
    const LayerBranch& branch = *decoder.branch(layer);
    const at::Tensor linear_NC =
        branch.forward(decoder.mixer_input(x_NC, layer).unsqueeze(0), branch.make_state(1))
            .out_BNC.squeeze(0);
    const at::Tensor untouched_NC = attention_of(teacher_NC, layer);
    const at::Tensor kept_NC = from_teacher ? untouched_NC : attention_of(x_NC, layer);
    const double gate = gates[static_cast<std::size_t>(layer)];
    const at::Tensor mixed_NC = kept_NC * gate + linear_NC * (1 - gate);
    const at::Tensor off_NC = (mixed_NC - untouched_NC).narrow(0, rows - answer, answer);
    result.alignment += off_NC.square().sum().item<double>() / static_cast<double>(answer) / kDepth;
    x_NC = decoder.finish_layer(x_NC, mixed_NC, layer);
    teacher_NC = decoder.finish_layer(teacher_NC, untouched_NC, layer);
  }
  const at::Tensor log_p = at::log_softmax(decoder.logits(x_NC), 1).to(at::kCPU);
  for (std::size_t i = 0; i < answer_.size(); ++i)
    result.nll.push_back(
        -log_p[prompt - 1 + static_cast<std::int64_t>(i)][answer_[i]].item<double>());
  return result;
}

void GatedLinearTest::expect_slopes(const GatedAttention& gated, GatedRequest request,
                                    const std::vector<double>& gates, std::uint64_t memory) const {
  request.gates = gates;
  const GatedGradient here = run(gated, request, memory);
  ASSERT_EQ(here.gradient.size(), gates.size());
  double steepest = 0;
  for (std::size_t unit = 0; unit < gates.size(); ++unit) {
    constexpr double kStep = 1e-5;
    std::vector<double> moved = gates;
    request.gates = moved;
    moved[unit] = gates[unit] + kStep;
    const double above = run(gated, request).loss;
    moved[unit] = gates[unit] - kStep;
    const double expected = (above - run(gated, request).loss) / (2 * kStep);
    EXPECT_NEAR(here.gradient[unit], expected, 1e-9 + 1e-6 * std::abs(expected)) << unit;
    steepest = std::max(steepest, std::abs(expected));
  }
  EXPECT_GT(steepest, 1e-4);
}

TEST_P(GatedLinearTest, WhatIsMixedIsWhatLeavesTheMixers) {
  for (const LinearKind kind : kKinds)
    for (const bool from_teacher : {false, true}) {
      GatedAttention gated = mixing(kind);
      gated.kept_from_teacher = from_teacher;
      for (const std::vector<double>& gates :
           std::vector<std::vector<double>>{{0.3, 0.8, 0.55}, {1, 0, 0.5}, {0, 1, 0}}) {
        const ByHand expected = by_hand(gates, from_teacher);
        const GatedGradient got = run(gated, request(gates));
        ASSERT_EQ(got.nll.size(), expected.nll.size());
        for (std::size_t i = 0; i < expected.nll.size(); ++i)
          EXPECT_NEAR(got.nll[i], expected.nll[i], 1e-12) << to_string(kind);
        GatedRequest align = taught(PassLoss::kAlignment);
        align.gates = gates;
        EXPECT_NEAR(run(gated, align).loss, expected.alignment, 1e-12 * expected.alignment);
      }
    }
}

TEST_P(GatedLinearTest, BinaryGatesScoreAsTheirPlanDoes) {
  for (const LinearKind kind : kKinds)
    for (const Granularity granularity :
         {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead}) {
      const GatedAttention gated = mixing(kind, granularity);
      MeteredModel model(*model_);
      Rng rng(31, "masks");
      for (unsigned draw = 0; draw < 8; ++draw) {
        Mask mask(granularity, model_->layout(), false);
        std::vector<double> gates(mask.size(), 0.0);
        for (std::size_t unit = 0; unit < mask.size(); ++unit) {
          // Every set of layers; of heads, some.
          const bool keeps =
              granularity == Granularity::kLayer ? (draw >> unit & 1U) != 0 : rng.below(3) == 0;
          mask = mask.with(unit, keeps);
          gates[unit] = keeps ? 1 : 0;
        }
        const AttentionPlan plan =
            *AttentionPlan::from_mask(mask, gated.kept, gated.cheap, DecodeRule::kSame);
        const ForcedRequest forced{prompt_, answer_, &plan};
        const auto expected = model.score({&forced, 1});
        ASSERT_TRUE(expected) << expected.error().text();
        const GatedGradient got = run(gated, request(gates));
        for (std::size_t i = 0; i < got.nll.size(); ++i)
          EXPECT_NEAR(got.nll[i], (*expected)[0].nll[i], 1e-11)
              << to_string(kind) << " " << to_string(granularity) << " " << draw;
      }
    }
}

TEST_P(GatedLinearTest, OpenGatesAreTheTeacher) {
  for (const LinearKind kind : kKinds)
    for (const Granularity granularity : {Granularity::kLayer, Granularity::kQueryHead}) {
      const GatedAttention gated = mixing(kind, granularity);
      MeteredModel model(*model_);
      const AttentionPlan full = AttentionPlan::full(model_->layout());
      const ForcedRequest forced{prompt_, answer_, &full};
      const AnswerScore expected = (*model.score({&forced, 1}))[0];
      const std::vector<double> open(units(granularity), 1.0);
      const std::vector<double> nll = run(gated, request(open)).nll;
      ASSERT_EQ(nll.size(), expected.nll.size());
      // Products of other row counts may add up in another order.
      for (std::size_t i = 0; i < nll.size(); ++i) EXPECT_NEAR(nll[i], expected.nll[i], 1e-12);
      for (const GatedAttention& streams : testing::streams(gated)) {
        GatedRequest align = taught(PassLoss::kAlignment);
        align.gates = open;
        EXPECT_LT(run(streams, align).loss, 1e-24);  // rows of other shapes
      }
    }
}

TEST_P(GatedLinearTest, GradientsAreFiniteDifferences) {
  const std::vector<double> gates = {0.35, 0.8, 0.6};
  for (const LinearKind kind : kKinds) {
    GatedAttention gated = mixing(kind);
    expect_slopes(gated, taught(PassLoss::kNll), gates);
    expect_slopes(gated, taught(PassLoss::kDivergence, kRows), gates);
    gated.kept_from_teacher = true;
    expect_slopes(gated, taught(PassLoss::kHidden, 9), gates);
  }
}

TEST_P(GatedLinearTest, GradientsOfAlignmentAreFiniteDifferences) {
  const std::vector<double> gates = {0.35, 0.8, 0.6};
  for (const LinearKind kind : kKinds) {
    const GatedAttention mixed = mixing(kind);
    for (const GatedAttention& gated : streams(mixed))
      for (const Alignment& alignment : {Alignment{false, false}, Alignment{true, true}})
        expect_slopes(gated, taught(PassLoss::kAlignment, 7, alignment), gates,
                      gated_pass_bytes(model_->shape(), kRows, 1, 1, gated.cheap));
  }
}

TEST_P(GatedLinearTest, HeadsHaveGatesOfTheirOwn) {
  for (const LinearKind kind : kKinds)
    for (const Granularity granularity : {Granularity::kKvHead, Granularity::kQueryHead}) {
      const GatedAttention gated = mixing(kind, granularity);
      if (granularity == Granularity::kQueryHead)
        expect_slopes(gated, taught(PassLoss::kNll), random_gates(granularity, 8));
      // Heads of a layer that agree are a layer, but for its biases.
      model_ = with_branches(kind, device(), /*rich=*/false);
      const std::size_t of_layer = units(granularity) / kDepth;
      const std::vector<double> by_layer = {0.3, 0.8, 0.55};
      std::vector<double> gates;
      for (const double gate : by_layer) gates.insert(gates.end(), of_layer, gate);
      GatedAttention layers = gated;
      layers.granularity = Granularity::kLayer;
      const GatedGradient heads = run(gated, request(gates)),
                          whole = run(layers, request(by_layer));
      EXPECT_EQ(heads.nll, whole.nll);
      for (std::size_t layer = 0; layer < by_layer.size(); ++layer) {
        double sum = 0;
        for (std::size_t h = 0; h < of_layer; ++h) sum += heads.gradient[layer * of_layer + h];
        EXPECT_NEAR(sum, whole.gradient[layer], 1e-12);
      }
    }
}

TEST_P(GatedLinearTest, RecomputedLayersGiveTheSameGradient) {
  const std::vector<double> gates = {0.35, 0.8, 0.6};
  for (const LinearKind kind : kKinds)
    for (const GatedAttention& gated : streams(mixing(kind))) {
      if (gated.separate_layers) continue;
      const GatedGradient kept = run(gated, request(gates));
      for (const int layers : {0, 2}) {
        const GatedGradient again =
            run(gated, request(gates),
                gated_pass_bytes(model_->shape(), kRows, layers, 1, gated.cheap));
        EXPECT_EQ(again.nll, kept.nll);
        EXPECT_EQ(again.gradient, kept.gradient);
      }
    }
}

TEST_P(GatedLinearTest, PromptsThatGoTogetherGetWhatEachGetsAlone) {
  constexpr std::size_t kPrompts = 3;
  for (const LinearKind kind : kKinds)
    for (const GatedAttention& gated : streams(mixing(kind)))
      for (const PassLoss loss : {PassLoss::kNll, PassLoss::kAlignment}) {
        if (gated.separate_layers && loss != PassLoss::kAlignment) continue;
        std::vector<Tokens> prompts(kPrompts, prompt_);
        std::vector<std::vector<double>> gates;
        std::vector<GatedRequest> requests;
        for (std::size_t i = 0; i < kPrompts; ++i) {
          std::reverse(prompts[i].begin(),
                       prompts[i].begin() + 20 * static_cast<std::ptrdiff_t>(i) + 1);
          gates.push_back({0.1 + 0.4 * static_cast<double>(i), 1, 0.5});
        }
        for (std::size_t i = 0; i < kPrompts; ++i) {
          requests.push_back({.prompt = prompts[i], .answer = answer_, .gates = gates[i]});
          requests[i].loss = loss;
        }
        MeteredModel together(*model_), alone(*model_);
        std::vector<TeacherRows> teachers;
        if (loss != PassLoss::kNll) {
          teachers = *teacher_rows(together, requests, {kEnough, 1 << 14}, silent_);
          ASSERT_TRUE(teacher_rows(alone, requests, {kEnough}, silent_));
          for (std::size_t i = 0; i < kPrompts; ++i) requests[i].teacher = &teachers[i];
        }
        std::vector<std::size_t> sizes;
        const auto got = gate_gradients(together, gated, requests, {kEnough, 1 << 14}, silent_,
                                        [&](std::size_t count) { sizes.push_back(count); });
        const auto expected = gate_gradients(alone, gated, requests, {kEnough}, silent_, {});
        ASSERT_TRUE(got && expected);
        EXPECT_EQ(sizes, std::vector<std::size_t>{kPrompts});
        for (std::size_t i = 0; i < kPrompts; ++i) {
          EXPECT_NEAR((*got)[i].loss, (*expected)[i].loss, 1e-12 * (1 + (*expected)[i].loss));
          for (std::size_t unit = 0; unit < kDepth; ++unit)
            EXPECT_NEAR((*got)[i].gradient[unit], (*expected)[i].gradient[unit],
                        1e-12 * (1 + std::abs((*expected)[i].gradient[unit])));
        }
        EXPECT_GT(std::abs((*got)[0].loss - (*got)[1].loss), 1e-6);
        EXPECT_EQ(together.meter().flops, alone.meter().flops);
        EXPECT_EQ(together.meter().evaluations, alone.meter().evaluations);
      }
}

// Branch forward and, where a weight is multiplied, as much backward; the recurrence twice. In
// separate layers no gradient leaves a layer, and only the scored rows go through both o.
TEST_P(GatedLinearTest, ThePassCostsWhatItRuns) {
  constexpr double kAnswer = 4;  // rows that leave the top layer
  for (const LinearKind kind : kKinds) {
    const GatedAttention mixed = mixing(kind);
    const ModelShape& shape = model_->shape();
    const double hidden = static_cast<double>(shape.hidden);
    const double o_row = 2 * hidden * 4 * 4, qkv_row = 2 * hidden * (4 + 2 + 2) * 4;
    double whole = 0, recurrence = 0, gates = 0;
    for (int layer = 0; layer < kDepth; ++layer) {
      const LayerBranch& branch = *model_->decoder().branch(layer);
      whole += branch.flops(kRows).total();
      recurrence += 4 * recurrence_flops(branch.size().parts, 4, 0, kRows, kRows);
      gates += branch.config().output_gate ? 1 : 0;
    }
    const double unread = (kRows - kAnswer) * o_row;  // of the top layer
    const Chunk chunk{0, kRows, kRows - 3, kRows - 4, false};
    const AttentionPlan full = AttentionPlan::full(model_->layout());
    const Flops kept = run_cost(full, shape, chunk, all_rows(full, chunk), 0).flops;
    const double qkv = kDepth * kRows * qkv_row - (kRows - kAnswer) * 2 * hidden * 4 * 4;
    const auto flops = [&](const GatedAttention& gated, PassLoss loss,
                           std::uint64_t memory = kEnough) {
      GatedRequest request = taught(loss);
      const std::vector<double> half(kDepth, 0.5);
      request.gates = half;
      MeteredModel model(*model_);
      EXPECT_TRUE(gate_gradient(model, gated, request, memory));
      return model.meter().flops;
    };
    const double forward = kept.linear + kept.attention + whole - unread;
    const double lm_head = kept.lm_head;
    const double backward = kept.linear + 2.5 * kept.attention + whole - unread + recurrence;
    const auto all = streams(mixed);
    EXPECT_DOUBLE_EQ(flops(all[0], PassLoss::kNll), forward + backward + 2 * lm_head);
    EXPECT_DOUBLE_EQ(flops(all[0], PassLoss::kAlignment), forward + backward);
    EXPECT_DOUBLE_EQ(flops(all[0], PassLoss::kNll, 0), 2 * forward + backward + 2 * lm_head);
    EXPECT_DOUBLE_EQ(flops(all[1], PassLoss::kAlignment),
                     forward + (kept.linear - qkv) + (backward - qkv - 2.5 * kept.attention));
    EXPECT_DOUBLE_EQ(flops(all[2], PassLoss::kAlignment),
                     kept.linear + kept.attention + whole - kDepth * kRows * o_row -
                         gates * (kRows - kAnswer) * o_row + 2 * 2 * kDepth * kAnswer * o_row);
  }
}

TEST_P(GatedLinearTest, HeadsOfNormedFusionHaveNoGates) {
  GatedAttention gated = mixing(LinearKind::kGatedDeltaNet, Granularity::kQueryHead);
  const Decoder& decoder = model_->decoder();
  std::vector<LayerBranch> branches;
  branches.reserve(kDepth);
  for (int layer = 0; layer < kDepth; ++layer)
    branches.push_back(initial_branch(
        *model_, layer, {.kind = LinearKind::kGatedDeltaNet, .fusion = HeadFusion::kNorm}));
  const std::unique_ptr<Model> fused =
      Model::in_memory("fused", decoder.architecture(), decoder.weights(), std::move(branches));
  MeteredModel model(*fused);
  const std::vector<double> heads(units(Granularity::kQueryHead), 0.5);
  const auto refused = gate_gradient(model, gated, request(heads), kEnough);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().text(),
            "gates of single heads over branches with fusion=norm (layer 0): expected fusion=none, "
            "or gates of whole layers\n  hint: granularity=layer");
  gated.granularity = Granularity::kLayer;
  const std::vector<double> layers(kDepth, 0.5);
  EXPECT_TRUE(gate_gradient(model, gated, request(layers), kEnough));
}

TEST_P(GatedLinearTest, LinearBranchesNeedMoreMemory) {
  const GatedAttention gated = mixing(LinearKind::kGla);
  const auto bytes = [&](std::int64_t rows, int layers, const MixerSpec& cheap) {
    return gated_pass_bytes(model_->shape(), rows, layers, 1, cheap);
  };
  EXPECT_GT(bytes(kRows, 0, gated.cheap), bytes(kRows, 0, SlidingWindow{8, 2}));
  EXPECT_GT(bytes(kRows, 3, gated.cheap) - bytes(kRows, 2, gated.cheap),
            bytes(kRows, 3, SlidingWindow{8, 2}) - bytes(kRows, 2, SlidingWindow{8, 2}));
}

STRATA_ON_EVERY_DEVICE(GatedLinearTest);

}  // namespace
}  // namespace strata::testing
