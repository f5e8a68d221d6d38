// nll_guided on a small random model: its scores against the dense oracle, its cost against hand
// values.
#include <gtest/gtest.h>

#include <cmath>

#include "core/score_tensor.h"
#include "core/sha256.h"
#include "models/decoder/weights.h"
#include "strategies/nll_scorer.h"
#include "strategies/registry.h"
#include "strategies/searcher.h"
#include "tests/unit/models/dense_oracle.h"

namespace strata {
namespace {

constexpr int kLayers = 5, kPrompt = 40, kAnswer = 4, kSamples = 3;
constexpr std::int64_t kWindow = 6, kSinks = 2;

class NllGuidedTest : public ::testing::Test {
 protected:
  NllGuidedTest() {
    Rng rng(3, "nll guided");
    architecture_ = testing::tiny_architecture(kLayers, 4, 2);
    weights_ = testing::random_weights(architecture_, rng, at::kDouble);
    model_ = Model::in_memory("tiny", architecture_, weights_);
    for (int s = 0; s < kSamples; ++s) {
      Sample sample;
      for (int i = 0; i < kPrompt; ++i)
        sample.prompt.push_back(static_cast<TokenId>(rng.below(11)));
      for (int i = 0; i < kAnswer; ++i)
        sample.answer.push_back(static_cast<TokenId>(rng.below(11)));
      sample.id = sha256_hex(std::to_string(s));
      calibration_.samples.push_back(sample);
    }
    calibration_.id = content_id(calibration_.samples);
    request_.layout = model_->layout();
    request_.cheap = SlidingWindow{kWindow, kSinks};
    request_.budget.units = 2;
  }

  UnitScores score(bool restore, ActivationReuse reuse, Meter* meter = nullptr) {
    MeteredModel metered(*model_);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    NllScorer scorer(request_, context, reuse);
    const Mask start(request_.granularity, request_.layout, !restore);
    std::vector<std::size_t> all(start.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    UnitScores scores = *scorer.score(start, all);
    if (meter != nullptr) *meter = metered.meter();
    return scores;
  }

  // NLL at each answer position.
  std::vector<double> oracle_nll(const Sample& sample, const Mask& mask) const {
    Tokens tokens = sample.prompt;
    tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
    const auto logits =
        testing::oracle_logits(architecture_, weights_, tokens, *request_.plan(mask), kPrompt);
    std::vector<double> nll;
    for (std::size_t k = 0; k < kAnswer; ++k) {
      double total = 0;
      for (const double value : logits[kPrompt + k - 1]) total += std::exp(value);
      nll.push_back(std::log(total) -
                    logits[kPrompt + k - 1][static_cast<std::size_t>(sample.answer[k])]);
    }
    return nll;
  }

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  CalibrationSet calibration_;
  SelectionRequest request_;
  SilentProgress progress_;
};

// Gains of a few nats in float32: 2^-24 of them.
constexpr double kTensorTolerance = 1e-6;
constexpr ActivationReuse kReuse, kNoReuse{.on = false}, kReuseWithoutMemory{.memory_bytes = 0};

TEST_F(NllGuidedTest, ScoresAreTheOraclesWithPairedStandardErrors) {
  for (const Granularity granularity :
       {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead})
    for (const bool restore : {true, false}) {
      request_.granularity = granularity;
      const UnitScores scores = score(restore, kReuse);
      const Mask context(granularity, request_.layout, !restore);
      const ScoreTensor& tensor = *scores.tensor;
      EXPECT_EQ(tensor.context, context);
      ASSERT_EQ(tensor.gains.size(), kSamples * context.size() * kAnswer);
      for (std::size_t unit = 0; unit < context.size(); ++unit) {
        std::vector<double> gains;
        for (std::size_t s = 0; s < kSamples; ++s) {
          const Sample& sample = calibration_.samples[s];
          const std::vector<double> without = oracle_nll(sample, context.with(unit, false));
          const std::vector<double> with = oracle_nll(sample, context.with(unit, true));
          double gain = 0;
          for (std::size_t k = 0; k < kAnswer; ++k) {
            gain += (without[k] - with[k]) / kAnswer;
            EXPECT_NEAR(tensor.gains[(s * context.size() + unit) * kAnswer + k],
                        without[k] - with[k], kTensorTolerance);
            EXPECT_NEAR(tensor.context_nll[s * kAnswer + k], restore ? without[k] : with[k],
                        kTensorTolerance);
          }
          gains.push_back(gain);
        }
        const double mean = (gains[0] + gains[1] + gains[2]) / 3;
        const double variance = (std::pow(gains[0] - mean, 2) + std::pow(gains[1] - mean, 2) +
                                 std::pow(gains[2] - mean, 2)) /
                                2;
        EXPECT_NEAR(scores.score[unit], mean, kTensorTolerance);
        EXPECT_NEAR(scores.standard_error[unit], std::sqrt(variance / 3), kTensorTolerance);
      }
      EXPECT_EQ(scores.score, tensor.scores());  // to the last bit
    }
}

TEST_F(NllGuidedTest, ReuseGivesTheSameScoresAndOrder) {
  for (const Granularity granularity :
       {Granularity::kLayer, Granularity::kKvHead, Granularity::kQueryHead})
    for (const bool restore : {true, false}) {
      request_.granularity = granularity;
      const UnitScores with = score(restore, kReuse), without = score(restore, kNoReuse);
      for (std::size_t unit = 0; unit < with.score.size(); ++unit)
        EXPECT_NEAR(with.score[unit], without.score[unit], 1e-7);
      EXPECT_EQ(ranked(with.score), ranked(without.score));
      EXPECT_EQ(score(restore, kReuseWithoutMemory).score, with.score);
    }
}

TEST_F(NllGuidedTest, AblateCostsWhatTheHandSays) {
  // 43 rows (40 + 4 − 1); the last layer outputs the 4 that are read; all other layers are full, so
  // all rows count.
  constexpr double kRows = kPrompt + kAnswer - 1;
  Meter without;
  score(false, kNoReuse, &without);
  EXPECT_EQ(without.evaluations, (kLayers + 1) * kSamples);
  // Every run: 4 layers of 43 rows and one of 4; ablating the last layer lets the rows below it
  // stay.
  EXPECT_EQ(without.layer_tokens, kSamples * ((kLayers + 1) * ((kLayers - 1) * kRows + kAnswer)));

  // With reuse, rows below window + sinks are run once (all layers; nobody reads the top layer's
  // output), and a toggle of layer l runs layers l to 4. A toggled top layer reads only its
  // queries' windows from the layer's input.
  constexpr double kShared = kWindow + kSinks, kRest = kRows - kShared;
  Meter with;
  score(false, kReuse, &with);
  EXPECT_EQ(with.evaluations, (kLayers + 1) * kSamples);
  const double shared = kShared * (kLayers - 1);
  const double base = kRest * (kLayers - 1) + kAnswer;
  double toggles = 0;
  for (int layer = 0; layer < kLayers; ++layer) toggles += kRest * (kLayers - 1 - layer) + kAnswer;
  EXPECT_EQ(with.layer_tokens, kSamples * (shared + base + toggles));

  // Without memory, all layers but the top one are run once more for their successors' inputs.
  Meter again;
  score(false, kReuseWithoutMemory, &again);
  EXPECT_EQ(again.layer_tokens, with.layer_tokens + kSamples * kRest * (kLayers - 1));
}

// A model of many layers: a toggle runs half of them on average.
TEST_F(NllGuidedTest, ReuseHalvesTheCostOfAblating) {
  Meter with, without;
  score(false, kReuse, &with);
  score(false, kNoReuse, &without);
  // (base + Σ toggles) / (L + 1) bases, rows alike: about (1 + (L + 1) / 2) / (L + 1).
  const double expected = (1 + (kLayers + 1) / 2.0) / (kLayers + 1);
  EXPECT_NEAR(with.layer_tokens / without.layer_tokens, expected, 0.15);
}

TEST_F(NllGuidedTest, RestoreCostsWhatTheHandSays) {
  // All layers but one are windowed: a layer needs rows back to window − 1 before the first row
  // that the next one reads.
  const auto rows_out = [](int full_layer, int first_layer, std::int64_t begin) {
    double total = 0;
    std::int64_t out = kPrompt - 1;  // first row that is read
    for (int layer = kLayers - 1; layer >= first_layer; --layer) {
      total += static_cast<double>(kPrompt + kAnswer - 1 - out);
      out = layer == full_layer ? begin : std::max(begin, out - kWindow + 1);
    }
    return total;
  };
  constexpr std::int64_t kShared = kWindow + kSinks;
  constexpr double kRest = kPrompt + kAnswer - 1 - kShared;
  Meter with;
  score(true, kReuse, &with);
  double expected = kShared * (kLayers - 1) + kRest * (kLayers - 1) + kAnswer;
  for (int layer = 0; layer < kLayers; ++layer) expected += rows_out(layer, layer, kShared);
  EXPECT_EQ(with.layer_tokens, kSamples * expected);

  // From the first layer on, with the sinks inside the chunk, every row below the top is computed.
  Meter without;
  score(true, kNoReuse, &without);
  EXPECT_EQ(without.layer_tokens,
            kSamples * (kLayers + 1) *
                ((kLayers - 1) * static_cast<double>(kPrompt + kAnswer - 1) + kAnswer));
  EXPECT_LT(with.layer_tokens, 0.5 * without.layer_tokens);
}

TEST_F(NllGuidedTest, StrategiesShareScoresAndCountThemForEach) {
  class Cache final : public ScoreCache {
   public:
    const Entry* find(const std::string& key) const override {
      const auto it = entries.find(key);
      return it == entries.end() ? nullptr : &it->second;
    }
    void insert(const std::string& key, Entry entry) override { entries[key] = std::move(entry); }
    std::map<std::string, Entry> entries;
  } cache;
  const auto run = [&](const char* name, const char* mode, Meter* own) {
    config::Map map;
    map.set("name", name);
    map.set("mode", mode);
    MeteredModel metered(*model_);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .cache = &cache, .progress = &progress_};
    Selection selection = *(*make_strategy(config::Value(map)))->select(request_, context);
    *own = metered.meter();
    return selection;
  };
  Meter first, second, third;
  const Selection restore = run("nll_guided", "restore", &first);
  const Selection inverted = run("inverted", "restore", &second);
  run("nll_guided", "ablate", &third);
  EXPECT_EQ(first.evaluations, (kLayers + 1) * kSamples);
  EXPECT_EQ(second.evaluations, 0);  // nothing was run again
  EXPECT_EQ(inverted.reused_cost.evaluations, first.evaluations);
  EXPECT_EQ(inverted.reused_cost.flops, first.flops);
  EXPECT_EQ(third.evaluations, first.evaluations);
  EXPECT_EQ(restore.mask, top_k(request_, restore.scores->score, 2));
  EXPECT_EQ(inverted.mask, bottom_k(request_, restore.scores->score, 2));
}

TEST_F(NllGuidedTest, WorkersGiveTheScoresAndTheCostOfOneThread) {
  const auto run = [&](int workers, Meter* meter) {
    MeteredModel metered(*model_, {}, workers);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    NllScorer scorer(request_, context, {});
    const std::vector<std::size_t> all = {0, 1, 2, 3, 4};
    UnitScores scores = *scorer.score(Mask(Granularity::kLayer, request_.layout, false), all);
    *meter = metered.meter();
    return scores;
  };
  Meter one, three;
  EXPECT_EQ(run(1, &one).score, run(3, &three).score);
  EXPECT_EQ(one.layer_tokens, three.layer_tokens);
  EXPECT_EQ(one.evaluations, three.evaluations);
}

TEST_F(NllGuidedTest, PromptsInsideTheWindowScoreZero) {
  for (Sample& sample : calibration_.samples) sample.prompt.resize(4);  // 4 + 3 ≤ window + sinks
  for (const bool restore : {true, false}) {
    const UnitScores scores = score(restore, kReuse);
    for (const double value : scores.score) EXPECT_NEAR(value, 0.0, 1e-12);
  }
}

}  // namespace
}  // namespace strata
