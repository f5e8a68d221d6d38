// Layers with linear heads in the decoder: what is computed, what hooks see, and gradients against
// finite differences.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/decoder/plan_binder.h"
#include "tests/unit/models/hybrid_fixture.h"

namespace strata {
namespace {

using testing::initial_branch;
using testing::normal_tensor;
using testing::random_config;
using testing::tiny_hybrid;
using testing::TinyHybrid;

double largest_difference(const at::Tensor& x, const at::Tensor& y) {
  return (x.to(at::kDouble) - y.to(at::kDouble)).abs().max().item<double>();
}

// Layer `layer` alone over `rows` rows of `batch` sequences under a plan; all rows leave.
at::Tensor run_one(const Decoder& decoder, const AttentionPlan& plan, int layer,
                   const at::Tensor& x_NC, std::int64_t batch, ForwardHooks* hooks = nullptr) {
  const std::int64_t rows = x_NC.size(0) / batch;
  Segment segment{.chunk = {.begin = 0, .end = rows, .prompt_length = rows, .retain = false},
                  .plan = decoder.bind(plan),
                  .rows = {{0, 0}},
                  .batch = batch};
  return decoder.run_layers(x_NC, layer, layer + 1, std::span(&segment, 1), hooks);
}

// With biases of q, k, v and o and norms of q and k.
TinyHybrid rich_hybrid(const LinearBranchConfig& config, std::uint64_t seed) {
  Rng rng(seed, "rich hybrid");
  const auto parent = testing::branch_parent(rng, at::kDouble, true, 4);
  TinyHybrid out{.architecture = parent->decoder().architecture(),
                 .weights = parent->decoder().weights(),
                 .branches = {},
                 .model = nullptr};
  out.branches = testing::random_branches(out.architecture, out.weights, config, seed);
  out.model = Model::in_memory("rich", out.architecture, out.weights, out.branches);
  return out;
}

// Query heads 1 and 2 of layer 1 are linear: of 2 KV heads with 2 query heads each.
AttentionPlan half_of_layer_1(const TinyHybrid& h) {
  std::vector<int> cells(16, 0);
  cells[5] = cells[6] = 1;
  return h.plan(Granularity::kQueryHead,
                {{FullAttention{}, DecodeRule::kSame}, {h.linear(), DecodeRule::kSame}}, cells);
}

TEST(LinearBranchSubsetTest, ItsHeadsAddUpToTheWholeBranch) {
  for (const auto& [kind, name] : kLinearKinds)
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      Rng rng(seed, name);
      const auto parent = testing::branch_parent(rng, at::kDouble, rng.below(2) == 0);
      LayerBranch branch = initial_branch(*parent, 1, random_config(kind, rng));
      testing::draw_weights(branch, rng);
      const at::Tensor x = normal_tensor({2, 70, 12}, rng, 1);
      const at::Tensor whole = branch.forward(x, branch.make_state(2)).out_BNC;
      const std::vector<std::vector<std::int64_t>> cuts[] = {
          {{0}, {1}, {2}, {3}}, {{0, 3}, {1, 2}}, {{1}, {0, 2, 3}}, {{0, 1}, {2, 3}}};
      for (const auto& cut : cuts) {
        at::Tensor sum = at::zeros_like(whole);
        std::uint64_t bytes = 0;
        for (const std::vector<std::int64_t>& heads : cut) {
          const LayerBranch part = branch.subset(heads);
          EXPECT_EQ(part.heads(), std::ssize(heads));
          EXPECT_EQ(part.weights().k.size(0) <= std::ssize(heads) * 4, true);
          // In two cuts, so that states pass on.
          const BranchOutput first = part.forward(x.narrow(1, 0, 69), part.make_state(2));
          const BranchOutput last = part.step(x.narrow(1, 69, 1), first.state);
          sum += at::cat({first.out_BNC, last.out_BNC}, 1);
          bytes += last.state.state.bytes();
        }
        if (branch.weights().o_bias.defined()) sum += branch.weights().o_bias;
        EXPECT_LT(largest_difference(sum, whole), 1e-10) << name << " " << seed;
        EXPECT_EQ(bytes, branch.make_state(2).state.bytes());
      }
    }
}

TEST(LinearHeadsTest, RowsThatAreReadAreTheLastOfAllRows) {
  for (const auto& [kind, name] : kLinearKinds) {
    const TinyHybrid h = tiny_hybrid({.kind = kind}, at::kDouble, 0);
    Rng rng(1, name);
    const LayerBranch& branch = h.branches[0];
    const at::Tensor x = normal_tensor({2, 70, h.architecture.hidden}, rng, 1);
    const BranchRead all = branch.read(x, branch.make_state(2));
    for (const std::int64_t first : {0, 66, 70}) {
      const BranchRead some = branch.read(x, branch.make_state(2), first);
      ASSERT_EQ(some.heads_BNHD.size(1), 70 - first);
      if (first < 70) {
        EXPECT_LT(largest_difference(some.heads_BNHD, all.heads_BNHD.narrow(1, first, 70 - first)),
                  1e-13);
      }
      EXPECT_TRUE(at::equal(some.state.state.s_BHKV, all.state.state.s_BHKV));
    }
    EXPECT_LT(largest_difference(branch.through_o(all.heads_BNHD),
                                 branch.forward(x, branch.make_state(2)).out_BNC),
              1e-12);
  }
}

TEST(LinearHeadsTest, ALinearLayerAddsWhatItsBranchMakesOfTheNormedInput) {
  for (const auto& [kind, name] : kLinearKinds) {
    // At zero steps of training too: branches as LayerBranch::initial makes them.
    TinyHybrid h = tiny_hybrid({.kind = kind}, at::kFloat, 1);
    std::vector<LayerBranch> initial;
    initial.reserve(4);
    for (int layer = 0; layer < 4; ++layer)
      initial.push_back(LayerBranch::initial(h.architecture, h.weights, layer, {.kind = kind}));
    const auto started = Model::in_memory("start", h.architecture, h.weights, initial);
    Rng rng(2, name);
    const at::Tensor x_NC = normal_tensor({140, h.architecture.hidden}, rng, 1).to(at::kFloat);
    for (const Model* model : {h.model.get(), started.get()}) {
      const Decoder& decoder = model->decoder();
      ForwardHooks hooks{{{.site = Site::kMixerOut, .layer = 2}}, {}};
      const at::Tensor out = run_one(decoder, h.keeping({}), 2, x_NC, 2, &hooks);
      const LayerBranch& branch = *decoder.branch(2);
      const at::Tensor mixer_out =
          branch.forward(decoder.mixer_input(x_NC, 2).unflatten(0, {2, 70}), branch.make_state(2))
              .out_BNC.flatten(0, 1);
      EXPECT_TRUE(at::equal(hooks.captures[0].value, mixer_out)) << name;
      EXPECT_TRUE(at::equal(out, decoder.finish_layer(x_NC, mixer_out, 2))) << name;
    }
  }
}

TEST(LinearHeadsTest, ALayerOfBothKindsIsTheSumOverItsHeadsByHand) {
  for (const HeadFusion fusion : {HeadFusion::kNone, HeadFusion::kNorm})
    for (const auto& [kind, name] : kLinearKinds) {
      const TinyHybrid h = rich_hybrid({.kind = kind, .fusion = fusion}, 3);
      const Decoder& decoder = h.model->decoder();
      Rng rng(4, name);
      const at::Tensor x_NC = normal_tensor({60, h.architecture.hidden}, rng, 1);
      ForwardHooks full{{{.site = Site::kHeadOut, .layer = 1}}, {}};
      run_one(decoder, h.full(), 1, x_NC, 2, &full);
      const LayerBranch& branch = *decoder.branch(1);
      const at::Tensor softmax_NHD = full.captures[0].value;
      const at::Tensor linear_NHD =
          branch.read(decoder.mixer_input(x_NC, 1).unflatten(0, {2, 30}), branch.make_state(2))
              .heads_BNHD.flatten(0, 1);
      at::Tensor heads = at::zeros_like(softmax_NHD);
      at::Tensor expected = at::zeros_like(x_NC) + decoder.weights().layers[1].o_bias;
      for (std::int64_t head = 0; head < 4; ++head) {
        const bool linear = head == 1 || head == 2;
        at::Tensor one = (linear ? linear_NHD : softmax_NHD).select(1, head);
        if (fusion == HeadFusion::kNorm) {
          if (!linear)
            one = one *
                  (one.square().mean(-1, /*keepdim=*/true) + h.architecture.rms_norm_eps).rsqrt() *
                  branch.weights().softmax_norm;
          one = one * branch.weights().head_gain[head];
        }
        heads.select(1, head).copy_(one);
        const at::Tensor& o = linear ? branch.weights().o : decoder.weights().layers[1].o;
        expected += at::linear(one, o.narrow(1, head * 4, 4));
      }
      ForwardHooks mixed{
          {{.site = Site::kMixerOut, .layer = 1}, {.site = Site::kHeadOut, .layer = 1}}, {}};
      run_one(decoder, half_of_layer_1(h), 1, x_NC, 2, &mixed);
      EXPECT_LT(largest_difference(mixed.captures[0].value, expected), 1e-11) << name;
      EXPECT_LT(largest_difference(mixed.captures[1].value, heads), 1e-11) << name;
      // What no hook asks for is not joined and parted again; it makes no difference.
      ForwardHooks less{{{.site = Site::kMixerOut, .layer = 1}}, {}};
      run_one(decoder, half_of_layer_1(h), 1, x_NC, 2, &less);
      EXPECT_TRUE(at::equal(less.captures[0].value, mixed.captures[0].value));
    }
}

TEST(LinearHeadsTest, AnInterventionOnALinearHeadPassesThroughItsColumnsOfO) {
  const TinyHybrid h = tiny_hybrid({}, at::kDouble, 5);
  const Decoder& decoder = h.model->decoder();
  Rng rng(6, "intervention");
  const at::Tensor x_NC = normal_tensor({30, h.architecture.hidden}, rng, 1);
  const at::Tensor value = normal_tensor({4}, rng, 1);
  for (const AttentionPlan& plan : {half_of_layer_1(h), h.keeping({})}) {
    ForwardHooks plain{
        {{.site = Site::kMixerOut, .layer = 1}, {.site = Site::kHeadOut, .layer = 1}}, {}};
    run_one(decoder, plan, 1, x_NC, 1, &plain);
    ForwardHooks changed{
        {{.site = Site::kMixerOut, .layer = 1}},
        {{.site = Site::kHeadOut, .layer = 1, .head = 2, .rows = {7}, .value = value}}};
    run_one(decoder, plan, 1, x_NC, 1, &changed);
    const at::Tensor difference = changed.captures[0].value - plain.captures[0].value;
    const at::Tensor expected = at::linear(value - plain.captures[1].value[7][2],
                                           h.branches[1].weights().o.narrow(1, 8, 4));
    EXPECT_LT(largest_difference(difference[7], expected), 1e-12);
    EXPECT_EQ(difference.narrow(0, 0, 7).abs().max().item<double>(), 0);
    EXPECT_EQ(difference.narrow(0, 8, 22).abs().max().item<double>(), 0);
  }
}

TEST(LinearHeadsTest, QueriesKeysAndValuesOfSuchALayerAreRefused) {
  const TinyHybrid h = tiny_hybrid({}, at::kFloat, 0);
  Rng rng(1, "refused");
  const at::Tensor x_NC = normal_tensor({3, h.architecture.hidden}, rng, 1).to(at::kFloat);
  ForwardHooks hooks{{{.site = Site::kK, .layer = 1}}, {}};
  EXPECT_DEATH(run_one(h.model->decoder(), half_of_layer_1(h), 1, x_NC, 1, &hooks),
               "layer 1 has linear heads");
}

TEST(LinearHeadsTest, NoWeightOfAHeadThatNobodyReadsIsBound) {
  const TinyHybrid h = tiny_hybrid({.expand_kv_heads = false}, at::kFloat, 0);
  const Decoder& decoder = h.model->decoder();
  // Heads 0 and 1 (KV head 0) and 3 are linear in layer 0; all in layer 1; none in layer 2.
  std::vector<int> cells(16, 0);
  for (const int linear : {0, 1, 3, 4, 5, 6, 7}) cells[static_cast<std::size_t>(linear)] = 1;
  const auto bound = decoder.bind(
      h.plan(Granularity::kQueryHead,
             {{FullAttention{}, DecodeRule::kSame}, {h.linear(), DecodeRule::kSame}}, cells));
  const LinearHeads& some = *bound->layer(0).linear;
  EXPECT_EQ(some.softmax->weights.q.size(0), 4);
  EXPECT_EQ(some.softmax->weights.k.size(0), 4);
  EXPECT_EQ(some.softmax->weights.o.size(1), 4);
  EXPECT_EQ(some.branch.weights().q.size(0), 12);
  EXPECT_EQ(some.branch.weights().k.size(0), 8);  // of both KV heads
  EXPECT_EQ(bound->layer(0).stores.size(), 1);
  EXPECT_EQ(bound->layer(0).stores[0].kv_heads, std::vector<std::int64_t>{0});
  EXPECT_FALSE(bound->layer(1).linear->softmax);
  EXPECT_TRUE(bound->layer(1).stores.empty());
  EXPECT_TRUE(bound->layer(1).groups.empty());
  EXPECT_EQ(bound->layer(1).linear->branch.weights().q.const_data_ptr(),
            decoder.branch(1)->weights().q.const_data_ptr());
  EXPECT_EQ(bound->layer(2).linear, nullptr);
}

TEST(LinearHeadsTest, PlansThatAgreeInALayerShareWhatWasPickedForIt) {
  const TinyHybrid h = tiny_hybrid({}, at::kFloat, 0);
  PlanBinder binder(h.model->decoder());
  std::vector<int> cells(16, 0);
  cells[1] = cells[5] = cells[6] = 1;
  const std::vector<PaletteEntry> palette = {{FullAttention{}, DecodeRule::kSame},
                                             {h.linear(), DecodeRule::kSame}};
  const auto bind = [&] { return binder.bind(h.plan(Granularity::kQueryHead, palette, cells)); };
  const auto first = bind();
  cells[1] = 0;
  cells[2] = 1;
  auto second = bind();
  EXPECT_NE(first->layer(0).linear, second->layer(0).linear);
  EXPECT_EQ(first->layer(1).linear, second->layer(1).linear);
  std::weak_ptr<const LinearHeads> picked = second->layer(0).linear;
  EXPECT_FALSE(picked.expired());
  cells[2] = 0;
  second = bind();
  EXPECT_TRUE(picked.expired());  // nobody needs it any more
}

// Loss of a whole model whose layers are linear, of both kinds, windowed and full.
class HybridGradientTest : public ::testing::TestWithParam<LinearKind> {
 protected:
  HybridGradientTest()
      : h_(tiny_hybrid({.kind = GetParam(), .gate_rank = 2, .fusion = HeadFusion::kNorm},
                       at::kDouble, 11)),
        weights_(trainable_copy(h_.architecture, h_.weights)) {
    for (LayerBranch& branch : h_.branches)
      for (const BranchPart& part : branch.parts()) {
        part.tensor->requires_grad_(true);
        leaves_.emplace_back(part.name, *part.tensor);
      }
    for (const WeightPart& part : weight_parts(h_.architecture, weights_))
      leaves_.emplace_back(part.name, *part.tensor);
    decoder_ = std::make_unique<Decoder>(h_.architecture, weights_, h_.branches);
    Rng rng(12, "hybrid gradient");
    const int window = 2, full = 1, narrow = 3;
    std::vector<int> cells = {0, 0, 0, 0, 0, window, 0, full, window, window, full, full};
    cells.insert(cells.end(), 4, narrow);
    plan_ = h_.plan(Granularity::kQueryHead,
                    {{h_.linear(), DecodeRule::kSame},
                     {FullAttention{}, DecodeRule::kSame},
                     {SlidingWindow{5, 2}, DecodeRule::kFull},
                     {SlidingWindow{4, 0}, DecodeRule::kSame}},
                    cells);
    x_NC_ = normal_tensor({2 * kRows, h_.architecture.hidden}, rng, 1).requires_grad_(true);
    leaves_.emplace_back("x", x_NC_);
    r_NV_ = normal_tensor({2 * (kRows - kFirstRead), h_.architecture.vocabulary}, rng, 1);
  }

  at::Tensor loss() const {
    Segment segment{.chunk = {.begin = 0,
                              .end = kRows,
                              .prompt_length = 60,
                              .first_read = kFirstRead,
                              .retain = false},
                    .plan = decoder_->bind(*plan_),
                    .rows = {},
                    .batch = 2};
    segment.rows = plan_rows(*plan_, segment.chunk);  // the top layer's begin inside the text
    STRATA_CHECK(segment.rows[3].in_begin > 0);
    const at::Tensor top_NC = decoder_->run_layers(x_NC_, 0, 4, std::span(&segment, 1));
    return (decoder_->logits(top_NC) * r_NV_).sum();
  }

  static constexpr std::int64_t kRows = 66, kFirstRead = 50;
  TinyHybrid h_;
  Weights weights_;
  std::vector<std::pair<std::string, at::Tensor>> leaves_;
  std::unique_ptr<Decoder> decoder_;
  std::optional<AttentionPlan> plan_;
  at::Tensor x_NC_, r_NV_;
};

TEST_P(HybridGradientTest, EveryWeightsGradientIsAFiniteDifference) {
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : leaves_) tensors.push_back(tensor);
  const std::vector<at::Tensor> gradients =
      torch::autograd::grad({loss()}, tensors, {}, std::nullopt, false, /*allow_unused=*/true);
  const at::NoGradGuard no_grad;
  Rng rng(13, "finite differences");
  int reached = 0;
  for (std::size_t p = 0; p < leaves_.size(); ++p) {
    const auto& [name, tensor] = leaves_[p];
    const auto i = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(tensor.numel())));
    double* value = tensor.mutable_data_ptr<double>() + i;
    constexpr double kStep = 1e-5;
    const double here = *value;
    *value = here + kStep;
    const double above = loss().item<double>();
    *value = here - kStep;
    const double below = loss().item<double>();
    *value = here;
    const double slope = (above - below) / (2 * kStep);
    const double got = gradients[p].defined() ? gradients[p].flatten()[i].item<double>() : 0;
    EXPECT_NEAR(got, slope, 1e-5 * std::max(1.0, std::abs(slope))) << name;
    reached += gradients[p].defined() ? 1 : 0;
  }
  // What a plan leaves unread has none: the linear layers' q, k, v and o of the attention, the
  // branches of layers without linear heads, fusion in layers of one kind, biases of no one.
  EXPECT_GT(reached, 40);
}

TEST_P(HybridGradientTest, RecordingGradientsChangesNoLogit) {
  const at::Tensor recorded = loss();
  const at::NoGradGuard no_grad;
  EXPECT_NEAR(recorded.item<double>(), loss().item<double>(),
              1e-10 * std::abs(recorded.item<double>()));
}

INSTANTIATE_TEST_SUITE_P(Kinds, HybridGradientTest,
                         ::testing::Values(LinearKind::kLightning, LinearKind::kGla,
                                           LinearKind::kGatedDeltaNet),
                         [](const auto& test) {
                           return test.param == LinearKind::kLightning ? "Lightning"
                                  : test.param == LinearKind::kGla     ? "Gla"
                                                                       : "GatedDeltaNet";
                         });

}  // namespace
}  // namespace strata
