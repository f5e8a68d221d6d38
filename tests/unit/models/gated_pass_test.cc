// Gradients of gates against finite differences, plain dense attention and the scoring passes.
#include "models/training/gated_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "models/training/attention_gradient.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

constexpr int kLayers = 4;
constexpr std::int64_t kWindow = 8, kSinks = 2;
constexpr std::uint64_t kEnough = std::uint64_t{1} << 40;

class GatedPassTest : public testing::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (IsSkipped()) return;
    Rng rng(7, "gated pass");
    const Architecture architecture = testing::tiny_architecture(kLayers, 4, 2);
    weights_ = testing::random_weights(architecture, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture, testing::to_device(weights_, device()));
    for (int i = 0; i < 50; ++i) prompt_.push_back(static_cast<TokenId>(rng.below(11)));
    for (int i = 0; i < 4; ++i) answer_.push_back(static_cast<TokenId>(rng.below(11)));
  }

  static GatedAttention attention(Granularity granularity, DecodeRule rule) {
    return {.granularity = granularity,
            .kept = FullAttention{},
            .cheap = SlidingWindow{kWindow, kSinks},
            .rule = rule};
  }
  std::size_t units(Granularity granularity) const {
    return Mask(granularity, model_->layout(), false).size();
  }
  GatedGradient run(const GatedAttention& attention, const GatedRequest& request,
                    std::uint64_t memory = kEnough) const {
    MeteredModel model(*model_);
    Result<GatedGradient> result = gate_gradient(model, attention, request, memory);
    EXPECT_TRUE(result) << result.error().message;
    return *std::move(result);
  }
  GatedRequest request(const std::vector<double>& gates) const {
    return {.prompt = prompt_, .answer = answer_, .gates = gates};
  }
  // (f(g + ε) − f(g − ε)) / 2ε of every gate against the gradient.
  void expect_finite_differences(const GatedAttention& attention, GatedRequest request,
                                 std::vector<double> gates) const {
    request.gates = gates;
    const GatedGradient at_gates = run(attention, request);
    ASSERT_EQ(at_gates.gradient.size(), gates.size());
    const double epsilon = 1e-5;
    for (std::size_t u = 0; u < gates.size(); ++u) {
      std::vector<double> moved = gates;
      request.gates = moved;
      moved[u] = gates[u] + epsilon;
      const double above = run(attention, request).loss;
      moved[u] = gates[u] - epsilon;
      const double below = run(attention, request).loss;
      const double expected = (above - below) / (2 * epsilon);
      EXPECT_NEAR(at_gates.gradient[u], expected, 1e-6 + 1e-4 * std::abs(expected)) << "unit " << u;
    }
  }
  std::vector<double> random_gates(Granularity granularity, std::uint64_t seed) const {
    Rng rng(seed, "gates");
    std::vector<double> gates;
    for (std::size_t u = 0; u < units(granularity); ++u)
      gates.push_back(0.1 + 0.8 * static_cast<double>(rng.below(1000)) / 1000.0);
    return gates;
  }

  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens prompt_, answer_;
};

TEST_P(GatedPassTest, BinaryGatesScoreAsTheirPlanDoes) {
  MeteredModel model(*model_);
  for (const Granularity granularity :
       {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead})
    for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull}) {
      Rng rng(3, "masks");
      Mask mask(granularity, model_->layout(), false);
      std::vector<double> gates(mask.size(), 0.0);
      for (std::size_t u = 0; u < mask.size(); ++u)
        if (rng.below(2) == 1) {
          mask = mask.with(u, true);
          gates[u] = 1.0;
        }
      const GatedAttention gated = attention(granularity, rule);
      const AttentionPlan plan = *AttentionPlan::from_mask(mask, gated.kept, gated.cheap, rule);
      const ForcedRequest forced{prompt_, answer_, &plan};
      const AnswerScore expected = (*model.score(std::span(&forced, 1)))[0];
      const GatedGradient got = run(gated, request(gates));
      ASSERT_EQ(got.nll.size(), expected.nll.size());
      for (std::size_t i = 0; i < got.nll.size(); ++i)
        EXPECT_NEAR(got.nll[i], expected.nll[i], 1e-9);
      EXPECT_NEAR(got.loss, expected.mean_nll(), 1e-9);
    }
}

TEST_P(GatedPassTest, GradientsAreFiniteDifferences) {
  for (const Granularity granularity :
       {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead})
    for (const DecodeRule rule : {DecodeRule::kSame, DecodeRule::kFull}) {
      GatedRequest nll = request({});
      expect_finite_differences(attention(granularity, rule), nll, random_gates(granularity, 1));
      nll.scored = static_cast<std::int64_t>(prompt_.size() + answer_.size()) - 1;  // as text
      expect_finite_differences(attention(granularity, rule), nll, random_gates(granularity, 2));
    }
}

TEST_P(GatedPassTest, GradientsOfDistillationAreFiniteDifferences) {
  MeteredModel model(*model_);
  for (const PassLoss loss : {PassLoss::kDivergence, PassLoss::kHidden})
    for (const bool from_teacher : {false, true}) {
      GatedRequest distil = request({});
      distil.loss = loss;
      distil.scored = 9;
      const Result<TeacherRows> teacher = teacher_rows(model, distil);
      ASSERT_TRUE(teacher);
      distil.teacher = &*teacher;
      GatedAttention gated = attention(Granularity::kKvHead, DecodeRule::kSame);
      gated.kept_from_teacher = from_teacher;
      expect_finite_differences(gated, distil, random_gates(Granularity::kKvHead, 4));
      // The gated model with every gate open is its own teacher.
      const std::vector<double> open(units(Granularity::kKvHead), 1.0);
      distil.gates = open;
      EXPECT_NEAR(run(gated, distil).loss, 0, 1e-12);
    }
}

TEST_P(GatedPassTest, RecomputedLayersGiveTheSameGradient) {
  for (const bool from_teacher : {false, true}) {
    GatedAttention gated = attention(Granularity::kKvHead, DecodeRule::kSame);
    gated.kept_from_teacher = from_teacher;
    const std::vector<double> gates = random_gates(Granularity::kKvHead, 5);
    const GatedGradient kept = run(gated, request(gates));
    for (const int layers : {0, 2}) {
      const GatedGradient again =
          run(gated, request(gates), gated_pass_bytes(model_->shape(), 53, layers));
      EXPECT_EQ(again.loss, kept.loss);
      for (std::size_t u = 0; u < gates.size(); ++u)
        EXPECT_NEAR(again.gradient[u], kept.gradient[u], 1e-12);
    }
  }
}

// Σ_u ∫₀¹ −∂NLL/∂g_u(t,…,t) dt = NLL(none) − NLL(full).
TEST_P(GatedPassTest, IntegratedGradientsAddUpToTheGap) {
  const GatedAttention gated = attention(Granularity::kLayer, DecodeRule::kSame);
  const auto at_all = [&](double gate) {
    return std::vector<double>(units(Granularity::kLayer), gate);
  };
  const double gap = run(gated, request(at_all(0))).loss - run(gated, request(at_all(1))).loss;
  double sum = 0;
  for (int points = 8; points <= 256; points *= 2) {  // until it stands still
    double finer = 0;
    for (int i = 0; i < points; ++i) {
      const std::vector<double> gates = at_all((i + 0.5) / points);
      const GatedGradient here = run(gated, request(gates));
      finer -= std::accumulate(here.gradient.begin(), here.gradient.end(), 0.0) / points;
    }
    const bool settled = points > 8 && std::abs(finer - sum) < 0.01 * std::abs(finer);
    sum = finer;
    if (settled) break;
  }
  ASSERT_GT(std::abs(gap), 1e-3);
  EXPECT_NEAR(sum / gap, 1.0, 0.02);
}

TEST_P(GatedPassTest, AShortSequenceHasNoGradient) {
  // Nothing is hidden from any query: prompt + answer ≤ window + sinks.
  const Tokens prompt(prompt_.begin(), prompt_.begin() + 6);
  const std::vector<double> gates(units(Granularity::kLayer), 0.5);
  GatedRequest few = request(gates);
  few.prompt = prompt;
  for (const double s : run(attention(Granularity::kLayer, DecodeRule::kSame), few).gradient)
    EXPECT_NEAR(s, 0, 1e-14);
}

TEST_P(GatedPassTest, BadGatesAreRefused) {
  MeteredModel model(*model_);
  std::vector<double> gates(3, 0.5);
  const GatedAttention gated = attention(Granularity::kLayer, DecodeRule::kSame);
  Result<GatedGradient> few = gate_gradient(model, gated, request(gates), kEnough);
  ASSERT_FALSE(few);
  EXPECT_EQ(few.error().message, "3 gates given; expected one for each of 4 units");
  gates = {0.5, 0.5, 1.5, 0};
  Result<GatedGradient> large = gate_gradient(model, gated, request(gates), kEnough);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().message, "a gate is 1.5; expected 0 to 1");
}

// By autograd through a dense softmax over every pair.
TEST_P(GatedPassTest, AttentionGradientsAreThoseOfADenseSoftmax) {
  const auto options = at::TensorOptions().dtype(at::kDouble).device(device());
  const std::int64_t n = 300, heads = 4, kv_heads = 2, width = 8, prompt = 290;
  for (const bool with_sink : {false, true})
    for (const PaletteEntry& entry : {PaletteEntry{FullAttention{}, DecodeRule::kSame},
                                      PaletteEntry{SlidingWindow{20, 3}, DecodeRule::kSame},
                                      PaletteEntry{SlidingWindow{20, 3}, DecodeRule::kFull},
                                      PaletteEntry{SlidingWindow{1, 0}, DecodeRule::kSame},
                                      PaletteEntry{SlidingWindow{200, 64}, DecodeRule::kSame}})
      for (const std::int64_t first : {std::int64_t{0}, std::int64_t{285}}) {
        const at::AutoGradMode grad_mode(true);
        at::Tensor q = at::randn({1, heads, n - first, width}, options).requires_grad_(true);
        at::Tensor k = at::randn({1, kv_heads, n, width}, options).requires_grad_(true);
        at::Tensor v = at::randn({1, kv_heads, n, width}, options).requires_grad_(true);
        const at::Tensor sinks = with_sink ? at::randn({heads}, options) : at::Tensor();
        at::Tensor bias = at::zeros({n - first, n}, at::TensorOptions().dtype(at::kDouble));
        for (std::int64_t i = first; i < n; ++i)
          for (std::int64_t j = 0; j < n; ++j)
            if (!is_visible(entry, i, j, prompt))
              bias.select(0, i - first)
                  .select(0, j)
                  .fill_(-std::numeric_limits<double>::infinity());
        const auto repeat = [](const at::Tensor& x) { return x.repeat_interleave(2, 1); };
        at::Tensor scores =
            at::matmul(q, repeat(k).transpose(-1, -2)) / std::sqrt(8.0) + bias.to(device());
        if (with_sink)
          scores =
              at::cat({scores, sinks.view({1, heads, 1, 1}).expand({1, heads, n - first, 1})}, -1);
        const at::Tensor out = at::matmul(at::softmax(scores, -1).narrow(-1, 0, n), repeat(v));
        const at::Tensor d_out = at::randn_like(out);
        const auto expected = torch::autograd::grad({out}, {q, k, v}, {d_out});
        const at::NoGradGuard no_grad;
        AttentionGradients sum{at::zeros_like(q), at::zeros_like(k), at::zeros_like(v), {}};
        add_attention_gradients(q, k, v, query_blocks(entry, first, n, prompt, device()), sinks,
                                d_out, sum);
        EXPECT_LT((sum.q_BHND - expected[0]).abs().max().item<double>(), 1e-12);
        EXPECT_LT((sum.k_BGMD - expected[1]).abs().max().item<double>(), 1e-12);
        EXPECT_LT((sum.v_BGMD - expected[2]).abs().max().item<double>(), 1e-12);
      }
}

STRATA_ON_EVERY_DEVICE(GatedPassTest);

}  // namespace
}  // namespace strata
