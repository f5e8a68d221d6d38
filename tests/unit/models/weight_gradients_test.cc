// Gradients of weights against finite differences of the loss, in float64.
#include "models/training/weight_gradients.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "models/checkpoint/checkpoint.h"
#include "models/training/gated_pass.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"
#include "tests/unit/models/one_pass.h"

namespace strata {
namespace {

constexpr std::uint64_t kEnough = std::uint64_t{1} << 40;

class WeightGradientsTest : public testing::DeviceTest {
 protected:
  void make(const Architecture& architecture, const Weights& weights) {
    weights_ = trainable_copy(architecture, testing::to_device(weights, device()));
    model_ = Model::in_memory("tiny", architecture, weights_);
    Rng rng(11, "weight gradients");
    const auto token = [&] {
      return static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(architecture.vocabulary)));
    };
    for (int i = 0; i < 30; ++i) prompt_.push_back(token());
    for (int i = 0; i < 4; ++i) answer_.push_back(token());
    const std::size_t units = Mask(Granularity::kKvHead, model_->layout(), false).size();
    for (std::size_t u = 0; u < units; ++u)
      gates_.push_back(std::clamp(1.4 * rng.uniform() - 0.2, 0.0, 1.0));  // some shut, some open
  }
  void make_family(const char* name) {
    const Result<Checkpoint> checkpoint =
        Checkpoint::open(std::string("tests/golden/families/") + name);
    ASSERT_TRUE(checkpoint) << checkpoint.error().text();
    const Result<Weights> weights = load_weights(*checkpoint, at::kCPU, at::kDouble);
    ASSERT_TRUE(weights) << weights.error().text();
    make(checkpoint->architecture(), *weights);
  }

  GatedGradient run(WeightGradients* sums, std::int64_t scored = 0,
                    std::uint64_t memory = kEnough) const {
    MeteredModel model(*model_);
    const Result<GatedGradient> result = testing::gate_gradient(
        model,
        {.granularity = Granularity::kKvHead,
         .kept = FullAttention{},
         .cheap = SlidingWindow{6, 2},
         .rule = DecodeRule::kSame},
        {.prompt = prompt_, .answer = answer_, .gates = gates_, .scored = scored, .weights = sums},
        memory);
    EXPECT_TRUE(result) << result.error().message;
    return *result;
  }

  // Two entries of every weight.
  void expect_finite_differences(std::int64_t scored) {
    WeightGradients gradients(model_->decoder());
    run(&gradients, scored);
    Rng rng(5, "entries");
    const std::vector<WeightPart> parts = weight_parts(model_->decoder().architecture(), weights_);
    ASSERT_EQ(parts.size(), gradients.sums().size());
    int nonzero = 0;
    for (std::size_t i = 0; i < parts.size(); ++i)
      for (int draw = 0; draw < 2; ++draw) {
        // Of an embedding, the row of a token that occurs.
        const std::int64_t entry = parts[i].name == "model.embed_tokens.weight"
                                       ? prompt_[rng.below(prompt_.size())] * parts[i].shape[1] +
                                             static_cast<std::int64_t>(rng.below(4))
                                       : static_cast<std::int64_t>(rng.below(
                                             static_cast<std::uint64_t>(parts[i].tensor->numel())));
        const at::Tensor weight = parts[i].tensor->detach().view({-1}).select(0, entry);
        const double value = weight.item<double>(), step = 1e-5;
        weight.fill_(value + step);
        const double above = run(nullptr, scored).loss;
        weight.fill_(value - step);
        const double below = run(nullptr, scored).loss;
        weight.fill_(value);
        const double expected = (above - below) / (2 * step);
        const double got = gradients.sums()[i].view({-1}).select(0, entry).item<double>();
        EXPECT_NEAR(got, expected, 1e-8 + 1e-5 * std::abs(expected))
            << parts[i].name << " entry " << entry;
        nonzero += std::abs(expected) > 1e-6 ? 1 : 0;
      }
    EXPECT_GT(nonzero, static_cast<int>(parts.size()));
  }

  Weights weights_;
  std::unique_ptr<Model> model_;
  Tokens prompt_, answer_;
  std::vector<double> gates_;
};

class RandomWeights : public WeightGradientsTest {
 protected:
  void make_random(bool tied) {
    Rng rng(7, "weight gradients");
    Architecture architecture = testing::tiny_architecture(3, 4, 2);
    architecture.tie_word_embeddings = tied;
    Weights weights = testing::random_weights(architecture, rng, at::kDouble);
    if (tied) weights.lm_head = weights.embedding;
    make(architecture, weights);
  }
};

TEST_P(RandomWeights, AreFiniteDifferencesWithAHeadOfItsOwn) {
  make_random(false);
  expect_finite_differences(0);
  expect_finite_differences(33);  // as text
}

TEST_P(RandomWeights, AreFiniteDifferencesWithATiedHead) {
  make_random(true);
  expect_finite_differences(0);
  expect_finite_differences(33);
}

TEST_P(RandomWeights, AddUpOverPassesAndDoNotDependOnWhatIsKept) {
  make_random(false);
  WeightGradients once(model_->decoder()), twice(model_->decoder());
  const GatedGradient first = run(&once);
  const GatedGradient again = run(&twice, 0, 0);
  run(&twice);
  EXPECT_EQ(first.loss, again.loss);
  EXPECT_EQ(first.gradient, run(nullptr).gradient);
  for (std::size_t i = 0; i < once.sums().size(); ++i)
    EXPECT_LT((2 * once.sums()[i] - twice.sums()[i]).abs().max().item<double>(), 1e-12);
  twice.clear();
  for (const at::Tensor& sum : twice.sums()) EXPECT_EQ(sum.abs().max().item<double>(), 0);
}

TEST_P(RandomWeights, OfPromptsThatGoTogetherAreTheSumOfEachAlone) {
  make_random(false);
  const GatedAttention attention{.granularity = Granularity::kKvHead,
                                 .kept = FullAttention{},
                                 .cheap = SlidingWindow{6, 2},
                                 .rule = DecodeRule::kSame};
  Tokens other(prompt_.rbegin(), prompt_.rend());
  const std::vector<double> half(gates_.size(), 0.5);
  for (const std::int64_t scored : {std::int64_t{0}, std::int64_t{33}}) {
    WeightGradients together(model_->decoder()), alone(model_->decoder());
    const auto run_all = [&](WeightGradients* sums, std::int64_t batch_rows) {
      const GatedRequest first{
          .prompt = prompt_, .answer = answer_, .gates = gates_, .scored = scored, .weights = sums};
      std::vector<GatedRequest> requests(3, first);
      requests[1].prompt = other;
      requests[2].gates = half;
      MeteredModel model(*model_);
      const SilentProgress silent;
      std::size_t passes = 0;
      EXPECT_TRUE(gate_gradients(model, attention, requests, {kEnough, batch_rows}, silent,
                                 [&](std::size_t) { ++passes; }));
      return passes;
    };
    ASSERT_EQ(run_all(&together, 1000), 1u);
    ASSERT_EQ(run_all(&alone, 1), 3u);
    for (std::size_t i = 0; i < alone.sums().size(); ++i)
      EXPECT_LT((together.sums()[i] - alone.sums()[i]).abs().max().item<double>(), 1e-12);
  }
}

class FamilyWeights : public WeightGradientsTest {};

// Scaled embeddings, norms of 1 + weight before and behind, norms of heads, local positions.
TEST_P(FamilyWeights, AreFiniteDifferencesInGemma3) {
  make_family("gemma3");
  expect_finite_differences(33);
}

// Biases, experts, sink logits.
TEST_P(FamilyWeights, AreFiniteDifferencesInGptOss) {
  make_family("gpt_oss");
  expect_finite_differences(33);
}

TEST_P(FamilyWeights, AreFiniteDifferencesInQwen2) {
  make_family("qwen2");
  expect_finite_differences(0);
}

STRATA_ON_EVERY_DEVICE(RandomWeights);
STRATA_ON_EVERY_DEVICE(FamilyWeights);

}  // namespace
}  // namespace strata
