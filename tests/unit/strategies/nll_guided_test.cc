// nll_guided on a small random model: its scores against the dense oracle, its cost against hand
// values.
#include <gtest/gtest.h>

#include <cmath>

#include "core/score_tensor.h"
#include "strategies/nll_scorer.h"
#include "strategies/searcher.h"
#include "strategies/swaps.h"
#include "tests/unit/strategies/tiny_problem.h"

namespace strata {
namespace {

using testing::kAnswer, testing::kLayers, testing::kPrompt, testing::kSamples, testing::kSinks,
    testing::kWindow;

class NllGuidedTest : public testing::TinyProblem {
 protected:
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

TEST_F(NllGuidedTest, SaysWhatItWouldCostWithoutReuse) {
  for (const Granularity granularity : {Granularity::kLayer, Granularity::kKvHead})
    for (const bool restore : {true, false}) {
      request_.granularity = granularity;
      MeteredModel metered(*model_);
      SelectionContext context{
          .model = &metered, .calibration = &calibration_, .progress = &progress_};
      const SharedScores scored =
          *score_all_units(request_, context, restore, kNoReuse, Measure::kAnswerNll);
      EXPECT_EQ(scored.diagnostics["flops_without_reuse"].get<double>(), metered.meter().flops);
    }
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

TEST_F(NllGuidedTest, GainsOnSomeSamplesAreThoseOfTheTensor) {
  for (const bool restore : {true, false}) {
    const UnitScores all = score(restore, kReuse);
    const std::vector<std::vector<double>> expected = all.tensor->sample_gains();
    MeteredModel metered(*model_);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    NllScorer scorer(request_, context, kReuse);
    const std::vector<std::size_t> units = {1, 4}, samples = {2, 0};
    const Mask start(request_.granularity, request_.layout, !restore);
    const ScoreTensor tensor = *scorer.gains(start, units, samples);
    const std::vector<std::vector<double>> gains = tensor.sample_gains();
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Sample& sample = calibration_.samples[samples[i]];
      EXPECT_EQ(tensor.samples[i], sample.id);
      EXPECT_NEAR(tensor.sample_context_nll()[i], oracle_loss(sample, start), kTensorTolerance);
      for (const std::size_t unit : units)
        EXPECT_NEAR(gains[i][unit], expected[samples[i]][unit], kTensorTolerance);
      EXPECT_TRUE(std::isnan(gains[i][0]));  // no candidate
    }
    EXPECT_NEAR(all.context_nll, oracle_loss(start), kTensorTolerance);
    EXPECT_EQ(metered.meter().evaluations, 2 * 3);
  }
}

TEST_F(NllGuidedTest, LossesOfMasksAreTheOraclesWithReuseAndWithout) {
  for (const Granularity granularity : {Granularity::kLayer, Granularity::kQueryHead})
    for (const ActivationReuse& reuse : {kReuse, kNoReuse, kReuseWithoutMemory})
      for (const int workers : {1, 2}) {
        request_.granularity = granularity;
        MeteredModel metered(*model_, {}, workers);
        SelectionContext context{
            .model = &metered, .calibration = &calibration_, .progress = &progress_};
        const Mask none(granularity, request_.layout, false);
        // The first of a sample is what the others resume from; one equals it, one differs at the
        // bottom, one at the top alone.
        const std::vector<MaskTrial> trials = {{none.with(2, true), {2, 1}},
                                               {none.with(4, true), {0}},
                                               {none.with(2, true).with(4, true), {1, 2}},
                                               {none.with(2, true), {1}},
                                               {none.with(0, true), {1, 2, 1}}};
        const auto losses = *mask_losses(request_, context, reuse)(trials);
        for (std::size_t t = 0; t < trials.size(); ++t) {
          ASSERT_EQ(losses[t].size(), trials[t].samples.size());
          for (std::size_t i = 0; i < losses[t].size(); ++i)
            EXPECT_NEAR(losses[t][i],
                        oracle_loss(calibration_.samples[trials[t].samples[i]], trials[t].mask),
                        1e-9);
        }
        EXPECT_EQ(metered.meter().evaluations, 9);
      }
}

TEST_F(NllGuidedTest, MasksThatDifferHighUpCostLittleMore) {
  const auto cost = [&](ActivationReuse reuse) {
    MeteredModel metered(*model_);
    SelectionContext context{
        .model = &metered, .calibration = &calibration_, .progress = &progress_};
    const std::vector<MaskTrial> trials = {{Mask::of_layers(request_.layout, {0, 1, 2, 3}), {0}},
                                           {Mask::of_layers(request_.layout, {0, 1, 2, 4}), {0}}};
    EXPECT_TRUE(mask_losses(request_, context, reuse)(trials));
    return metered.meter().layer_tokens;
  };
  // 43 rows in the layers below the top one, 4 in that. The second mask resumes at layer 3, with
  // the rows behind window + sinks.
  EXPECT_EQ(cost(kNoReuse), 2 * (4 * 43 + 4));
  EXPECT_EQ(cost(kReuse), 4 * 43 + 4 + (43 - 8) + 4);
}

// What every searcher says of its set is what the oracle says.
TEST_F(NllGuidedTest, EverySearcherKeepsTheBudgetAndKnowsItsSetsLoss) {
  for (const char* mode : {"restore", "ablate"})
    for (const char* searcher : {"greedy", "beam", "swap", "racing"}) {
      SCOPED_TRACE(fmt::format("{} {}", mode, searcher));
      const auto selection =
          select({{"name", "nll_guided"}, {"mode", mode}, {"searcher", searcher}});
      ASSERT_TRUE(selection) << selection.error().text();
      EXPECT_EQ(selection->mask.kept(), 2u);
      const nlohmann::json& nll = selection->diagnostics["nll"];
      EXPECT_NEAR((nll.is_array() ? nll.back() : nll).get<double>(), oracle_loss(selection->mask),
                  kTensorTolerance);
      EXPECT_EQ(selection->scores->score.size(), static_cast<std::size_t>(kLayers));
    }
}

TEST_F(NllGuidedTest, ABeamOfAllPairsFindsTheBestPair) {
  const auto beam = select({{"name", "nll_guided"}, {"searcher", "beam"}, {"beam_width", 10}});
  for (int a = 0; a < kLayers; ++a)
    for (int b = 0; b < a; ++b)
      EXPECT_GE(oracle_loss(Mask::of_layers(request_.layout, {a, b})) + kTensorTolerance,
                oracle_loss(beam->mask));
}

TEST_F(NllGuidedTest, SearchersCostWhatTheyMeasure) {
  const auto evaluations = [&](const char* searcher) {
    Meter meter;
    EXPECT_TRUE(
        select({{"name", "nll_guided"}, {"searcher", searcher}, {"swap_rounds", 1}}, &meter));
    return meter.evaluations;
  };
  EXPECT_EQ(evaluations("top_k"), kSamples * 6);
  EXPECT_EQ(evaluations("greedy"), kSamples * (6 + 5));
  EXPECT_EQ(evaluations("bidirectional"), kSamples * (6 + 6));
  // Singles; the start; 2 kept times 3 dropped.
  EXPECT_EQ(evaluations("swap"), kSamples * (6 + 1 + 6));
  // 1, 1 and 1 samples: contexts, and 5, 3 and 2 units; then 4, 2 and 2.
  EXPECT_EQ(evaluations("racing"), kSamples + 5 + 3 + 2 + kSamples + 4 + 2 + 2);
}

TEST_F(NllGuidedTest, BidirectionalAveragesBothScoresSampleBySample) {
  const auto both = select({{"name", "nll_guided"}, {"searcher", "bidirectional"}});
  const auto restore = score(true, kReuse).tensor->sample_gains();
  const auto ablate = score(false, kReuse).tensor->sample_gains();
  for (std::size_t unit = 0; unit < kLayers; ++unit) {
    std::vector<double> mean;
    for (std::size_t s = 0; s < kSamples; ++s)
      mean.push_back((restore[s][unit] + ablate[s][unit]) / 2);
    EXPECT_NEAR(both->scores->score[unit], mean_error(mean).mean, 1e-12);
    EXPECT_EQ(both->scores->tensor->scores()[unit], both->scores->score[unit]);
    EXPECT_NEAR(both->scores->standard_error[unit], mean_error(mean).standard_error, 1e-12);
  }
  EXPECT_EQ(both->mask, top_k(request_, both->scores->score, 2));
  EXPECT_NE(select({{"name", "nll_guided"}, {"searcher", "bidirectional"}, {"mode", "ablate"}})
                .error()
                .text()
                .find("expected restore with searcher=bidirectional"),
            std::string::npos);
}

TEST_F(NllGuidedTest, LabelsNameTheSearcher) {
  const auto label = [](const std::vector<std::pair<std::string, config::Value>>& keys) {
    config::Map map;
    map.set("name", "nll_guided");
    for (const auto& [key, value] : keys) map.set(key, value);
    return (*make_strategy(config::Value(map)))->label();
  };
  EXPECT_EQ(label({}), "nll_restore");
  EXPECT_EQ(label({{"searcher", "greedy"}, {"mode", "ablate"}}), "nll_ablate_greedy");
  EXPECT_EQ(label({{"searcher", "beam"}}), "nll_restore_beam4");
  EXPECT_EQ(label({{"searcher", "swap"}}), "nll_restore_swap");
  EXPECT_EQ(label({{"searcher", "racing"}}), "nll_restore_racing");
  EXPECT_EQ(label({{"searcher", "bidirectional"}}), "nll_bidirectional");
  EXPECT_EQ(label({{"searcher", "bidirectional"}, {"average", "ranks"}}),
            "nll_bidirectional_ranks");
}

}  // namespace
}  // namespace strata
