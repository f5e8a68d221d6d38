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

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "models/training/attention_gradient.h"
#include "tests/unit/models/gated_pass_fixture.h"

namespace strata {
namespace {

using testing::kEnough, testing::kLayers, testing::kSinks, testing::kWindow;

class GatedPassTest : public testing::GatedPassFixture {};

// Texts of three shapes in turn, each with gates of its own, some shut, some open.
struct Batch {
  std::vector<Tokens> prompts, answers;
  std::vector<std::vector<double>> gates;
  std::vector<GatedRequest> requests;

  Batch(std::size_t count, std::size_t units, PassLoss loss, std::int64_t scored) {
    Rng rng(12, "batch");
    const auto text = [&](std::size_t length) {
      Tokens tokens;
      for (std::size_t i = 0; i < length; ++i)
        tokens.push_back(static_cast<TokenId>(rng.below(11)));
      return tokens;
    };
    for (std::size_t i = 0; i < count; ++i) {
      prompts.push_back(text(i % 3 == 1 ? 31 : 40));
      answers.push_back(text(i % 3 == 2 ? 5 : 3));
      std::vector<double>& of_one = gates.emplace_back();
      for (std::size_t u = 0; u < units; ++u)
        of_one.push_back(std::clamp(1.4 * rng.uniform() - 0.2, 0.0, 1.0));
    }
    for (std::size_t i = 0; i < count; ++i)
      requests.push_back({.prompt = prompts[i],
                          .answer = answers[i],
                          .gates = gates[i],
                          .loss = loss,
                          .scored = scored});
  }
};

// Sizes of the passes, in order.
struct Passes {
  std::vector<std::size_t> sizes;
  std::function<void(std::size_t)> note() {
    return [this](std::size_t prompts) { sizes.push_back(prompts); };
  }
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
      const auto teacher = teacher_rows(model, {&distil, 1}, {}, silent_);
      ASSERT_TRUE(teacher);
      distil.teacher = &(*teacher)[0];
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

TEST_P(GatedPassTest, PromptsThatGoTogetherGetWhatEachGetsAlone) {
  struct Case {
    Granularity granularity;
    std::int64_t scored, logits;
  };
  constexpr std::int64_t kVocabulary = 11, kAll = PassLimits{}.logits;
  // Logits of all sequences at once, of two (or as many as there are) at a time, of parts of one.
  for (const Case& one :
       {Case{Granularity::kLayer, 0, kAll}, Case{Granularity::kKvHead, 9, 20 * kVocabulary},
        Case{Granularity::kQueryHead, 9, 4 * kVocabulary}})
    for (const PassLoss loss :
         {PassLoss::kNll, PassLoss::kDivergence, PassLoss::kHidden, PassLoss::kAlignment})
      for (const GatedAttention& gated :
           testing::streams(attention(one.granularity, DecodeRule::kFull))) {
        if (gated.separate_layers && loss != PassLoss::kAlignment) continue;
        Batch batch(10, units(one.granularity), loss, one.scored);
        MeteredModel together(*model_), alone(*model_);
        const PassLimits wide{kEnough, 1 << 14, one.logits}, narrow{kEnough};
        std::vector<TeacherRows> teachers;
        if (loss != PassLoss::kNll) {
          teachers = *teacher_rows(together, batch.requests, wide, silent_);
          ASSERT_TRUE(teacher_rows(alone, batch.requests, narrow, silent_));
          for (std::size_t i = 0; i < teachers.size(); ++i)
            batch.requests[i].teacher = &teachers[i];
        }
        Passes passes, single;
        const auto got =
            gate_gradients(together, gated, batch.requests, wide, silent_, passes.note());
        const auto expected =
            gate_gradients(alone, gated, batch.requests, narrow, silent_, single.note());
        ASSERT_TRUE(got && expected);
        EXPECT_EQ(passes.sizes, (std::vector<std::size_t>{4, 3, 3}));
        EXPECT_EQ(single.sizes, std::vector<std::size_t>(10, 1));
        for (std::size_t i = 0; i < got->size(); ++i) {
          const GatedGradient &a = (*got)[i], &b = (*expected)[i];
          EXPECT_NEAR(a.loss, b.loss, 1e-12);
          ASSERT_EQ(a.nll.size(), b.nll.size());
          for (std::size_t t = 0; t < a.nll.size(); ++t) EXPECT_NEAR(a.nll[t], b.nll[t], 1e-12);
          ASSERT_EQ(a.gradient.size(), b.gradient.size());
          for (std::size_t u = 0; u < a.gradient.size(); ++u)
            EXPECT_NEAR(a.gradient[u], b.gradient[u], 1e-12 * (1 + std::abs(b.gradient[u])))
                << "prompt " << i << " unit " << u;
        }
        EXPECT_GT(std::abs((*got)[0].loss - (*got)[3].loss), 1e-6);  // of one pass, yet not equal
        const Meter &a = together.meter(), &b = alone.meter();
        EXPECT_EQ(a.flops, b.flops);
        EXPECT_EQ(a.evaluations, b.evaluations);
        EXPECT_EQ(a.forward_tokens, b.forward_tokens);
        EXPECT_EQ(a.layer_tokens, b.layer_tokens);
        EXPECT_EQ(a.backward_tokens, b.backward_tokens);
        EXPECT_EQ(a.peak_bytes * 44, b.peak_bytes * 4 * 42);  // tokens at once
      }
}

TEST_P(GatedPassTest, APassTakesNoMorePromptsThanFitWithAllActivations) {
  const GatedAttention gated = attention(Granularity::kLayer, DecodeRule::kSame);
  const std::vector<double> gates(units(Granularity::kLayer), 0.5);
  const std::vector<GatedRequest> requests(7, request(gates));
  const auto sizes = [&](std::uint64_t memory_bytes, std::int64_t rows, double& flops) {
    MeteredModel model(*model_);
    Passes passes;
    EXPECT_TRUE(
        gate_gradients(model, gated, requests, {memory_bytes, rows}, silent_, passes.note()));
    flops = model.meter().flops;
    return passes.sizes;
  };
  using Sizes = std::vector<std::size_t>;
  const auto bytes = [&](int layers, std::int64_t batch) {
    return gated_pass_bytes(model_->shape(), 53, layers, batch);
  };
  const Sizes one_each(7, 1);
  constexpr std::int64_t kFour = std::int64_t{4} * 53;
  double flops = 0, most = 0;
  EXPECT_EQ(sizes(bytes(kLayers, 3), 1 << 14, flops), (Sizes{3, 3, 1}));
  EXPECT_EQ(sizes(bytes(kLayers, 3) - 1, 1 << 14, most), (Sizes{2, 2, 2, 1}));
  EXPECT_EQ(most, flops);
  EXPECT_EQ(sizes(kEnough, kFour, most), (Sizes{4, 3}));
  EXPECT_EQ(sizes(kEnough, kFour - 1, most), (Sizes{3, 3, 1}));
  EXPECT_EQ(sizes(kEnough, 1, most), one_each);
  EXPECT_EQ(most, flops);
  // A prompt whose layers must be run twice goes alone.
  EXPECT_EQ(sizes(bytes(kLayers, 1) - 1, 1 << 14, most), one_each);
  EXPECT_GT(most, flops);
}

TEST_P(GatedPassTest, LimitsSuitTheDeviceWhateverIsFreeOnIt) {
  const PassLimits limits = pass_limits(*model_, {}), given = pass_limits(*model_, 7);
  EXPECT_EQ(given.memory_bytes, std::uint64_t{7} << 20);
  EXPECT_EQ(given.batch_rows, limits.batch_rows);
  if (device().is_cpu()) {
    EXPECT_EQ(limits.memory_bytes, std::uint64_t{4} << 30);
    EXPECT_EQ(limits.batch_rows, 1);
    return;
  }
  EXPECT_EQ(limits.batch_rows, 16384);
  const at::Tensor taken =
      at::zeros({std::int64_t{1} << 28}, at::TensorOptions().device(device()).dtype(at::kByte));
  EXPECT_GT(limits.memory_bytes, std::uint64_t{1} << 28);
  EXPECT_EQ(pass_limits(*model_, {}).memory_bytes, limits.memory_bytes);
}

TEST_P(GatedPassTest, WorkersShareTheMemory) {
  const GatedAttention gated = attention(Granularity::kLayer, DecodeRule::kSame);
  const std::vector<double> gates(units(Granularity::kLayer), 0.5);
  const std::vector<GatedRequest> requests(6, request(gates));
  MeteredModel model(*model_, {}, 2);
  Passes passes;
  ASSERT_TRUE(gate_gradients(model, gated, requests,
                             {2 * gated_pass_bytes(model_->shape(), 53, kLayers, 3) - 2, 1 << 14},
                             silent_, passes.note()));
  EXPECT_EQ(passes.sizes, (std::vector<std::size_t>{2, 2, 2}));
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
  Result<GatedGradient> few = testing::gate_gradient(model, gated, request(gates), kEnough);
  ASSERT_FALSE(few);
  EXPECT_EQ(few.error().message, "3 gates given; expected one for each of 4 units");
  gates = {0.5, 0.5, 1.5, 0};
  Result<GatedGradient> large = testing::gate_gradient(model, gated, request(gates), kEnough);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().message, "a gate is 1.5; expected 0 to 1");
  // The prompt is named, whoever it went with.
  const std::vector<double> good(4, 0.5);
  std::vector<GatedRequest> three(3, request(good));
  three[1] = request(gates);
  three[1].name = "prompt 1";
  const auto named = gate_gradients(model, gated, three, {kEnough, 1 << 14}, silent_, {});
  ASSERT_FALSE(named);
  EXPECT_EQ(named.error().text(), "prompt 1: a gate is 1.5; expected 0 to 1");
}

TEST_P(GatedPassTest, LinearAttentionWithoutABranchIsRefused) {
  MeteredModel model(*model_);
  const std::vector<double> gates(kLayers, 1.0);
  GatedAttention gated = attention(Granularity::kLayer, DecodeRule::kSame);
  gated.cheap = LinearAttention{LinearKind::kGla};
  const auto refused = testing::gate_gradient(model, gated, request(gates), kEnough);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::kUnsupported);
  EXPECT_EQ(refused.error().message,
            "layer 0 has no trained gla branch; expected a model made by strata convert");
  gated.rule = DecodeRule::kFull;
  const auto full = testing::gate_gradient(model, gated, request(gates), kEnough);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().kind, ErrorKind::kInvalidArgument);
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
