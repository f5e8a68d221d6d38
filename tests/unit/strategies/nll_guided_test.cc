// nll_guided on a small random model: its scores against the dense oracle, its cost against hand
// values.
#include <gtest/gtest.h>

#include <cmath>

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

  UnitScores score(bool restore, bool reuse, Meter* meter = nullptr) {
    MeteredModel metered(*model_);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    NllScorer scorer(request_, context, reuse);
    std::vector<std::size_t> all(kLayers);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    UnitScores scores = *scorer.score(Mask(Granularity::kLayer, request_.layout, !restore), all);
    if (meter != nullptr) *meter = metered.meter();
    return scores;
  }

  double oracle_nll(const Sample& sample, const Mask& mask) const {
    Tokens tokens = sample.prompt;
    tokens.insert(tokens.end(), sample.answer.begin(), sample.answer.end());
    const auto logits =
        testing::oracle_logits(architecture_, weights_, tokens, *request_.plan(mask), kPrompt);
    double nll = 0;
    for (std::size_t k = 0; k < kAnswer; ++k) {
      double total = 0;
      for (const double value : logits[kPrompt + k - 1]) total += std::exp(value);
      nll += std::log(total) - logits[kPrompt + k - 1][static_cast<std::size_t>(sample.answer[k])];
    }
    return nll / kAnswer;
  }

  Architecture architecture_;
  Weights weights_;
  std::unique_ptr<Model> model_;
  CalibrationSet calibration_;
  SelectionRequest request_;
  SilentProgress progress_;
};

TEST_F(NllGuidedTest, ScoresAreTheOraclesWithPairedStandardErrors) {
  for (const bool restore : {true, false}) {
    const UnitScores scores = score(restore, true);
    const Mask context(Granularity::kLayer, request_.layout, !restore);
    for (std::size_t unit = 0; unit < kLayers; ++unit) {
      std::vector<double> gains;
      for (const Sample& sample : calibration_.samples)
        gains.push_back(oracle_nll(sample, context.with(unit, false)) -
                        oracle_nll(sample, context.with(unit, true)));
      const double mean = (gains[0] + gains[1] + gains[2]) / 3;
      const double variance = (std::pow(gains[0] - mean, 2) + std::pow(gains[1] - mean, 2) +
                               std::pow(gains[2] - mean, 2)) /
                              2;
      EXPECT_NEAR(scores.score[unit], mean, 1e-8);
      EXPECT_NEAR(scores.standard_error[unit], std::sqrt(variance / 3), 1e-8);
    }
  }
}

TEST_F(NllGuidedTest, ReuseGivesTheSameScoresAndOrder) {
  for (const bool restore : {true, false}) {
    const UnitScores with = score(restore, true), without = score(restore, false);
    for (std::size_t unit = 0; unit < kLayers; ++unit)
      EXPECT_NEAR(with.score[unit], without.score[unit], 1e-9);
    EXPECT_EQ(ranked(with.score), ranked(without.score));
  }
}

TEST_F(NllGuidedTest, AblateCostsWhatTheHandSays) {
  // 43 rows (40 + 4 − 1); the last layer outputs the 4 that are read; all other layers are full, so
  // all rows count.
  constexpr double kRows = kPrompt + kAnswer - 1;
  Meter without;
  score(false, false, &without);
  EXPECT_EQ(without.evaluations, (kLayers + 1) * kSamples);
  // Every run: 4 layers of 43 rows and one of 4; ablating the last layer lets the rows below it
  // stay.
  EXPECT_EQ(without.layer_tokens, kSamples * ((kLayers + 1) * ((kLayers - 1) * kRows + kAnswer)));

  // With reuse, rows below window + sinks are run once (all layers; nobody reads the top layer's
  // output), and a toggle of layer l runs layers l to 4. A toggled top layer reads only its
  // queries' windows from the layer's input.
  constexpr double kShared = kWindow + kSinks, kRest = kRows - kShared;
  Meter with;
  score(false, true, &with);
  EXPECT_EQ(with.evaluations, (kLayers + 1) * kSamples);
  const double shared = kShared * (kLayers - 1);
  const double base = kRest * (kLayers - 1) + kAnswer;
  double toggles = 0;
  for (int layer = 0; layer < kLayers; ++layer) toggles += kRest * (kLayers - 1 - layer) + kAnswer;
  EXPECT_EQ(with.layer_tokens, kSamples * (shared + base + toggles));
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
  score(true, true, &with);
  double expected = kShared * (kLayers - 1) + kRest * (kLayers - 1) + kAnswer;
  for (int layer = 0; layer < kLayers; ++layer) expected += rows_out(layer, layer, kShared);
  EXPECT_EQ(with.layer_tokens, kSamples * expected);

  // From the first layer on, with the sinks inside the chunk, every row below the top is computed.
  Meter without;
  score(true, false, &without);
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
    NllScorer scorer(request_, context, true);
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
    const UnitScores scores = score(restore, true);
    for (const double value : scores.score) EXPECT_NEAR(value, 0.0, 1e-12);
  }
}

}  // namespace
}  // namespace strata
