// postnas on a small random model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/unit/strategies/branched_selection.h"

namespace strata {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Keys;

constexpr std::int64_t kSteps = 6, kBatch = 2, kLength = 20;
const Keys kShort = {{"steps", kSteps}, {"batch", kBatch}, {"length", kLength}, {"rate", 1e-2}};

class PostNasTest : public testing::BranchedSelectionTest {};

TEST_F(PostNasTest, FindsTheLayerThatNoBranchReplaces) {
  request_.budget.units = 2;
  Meter cost;
  const Selection selection = *select("postnas", kShort, &cost);
  EXPECT_EQ(selection.mask.kept(), 2U);
  EXPECT_THAT(selection.mask.kept_units(), Contains(kNeeded));
  EXPECT_EQ(made("postnas", kShort)->label(), "postnas");
  EXPECT_EQ(made("postnas")->needs().supervision(), "answers");
  EXPECT_EQ(cost.backward_tokens, kSteps * kBatch * kLength);
  // The search's are in it: a context and 5 toggles, then at most 3 contexts and their toggles.
  EXPECT_GT(cost.evaluations, kSamples * 6);
  EXPECT_LE(cost.evaluations, kSamples * (6 + 3 * 5));
  ASSERT_EQ(selection.training.size(), kSteps);
  EXPECT_GT(selection.training[0]["loss"].get<double>(), 0);
  EXPECT_FALSE(selection.diagnostics.contains("order"));
}

TEST_F(PostNasTest, IsTheSameForASeedAndSearchesTheTrainedBranches) {
  const std::vector<double> first = select("postnas", kShort)->scores->score;
  EXPECT_EQ(select("postnas", kShort)->scores->score, first);
  EXPECT_NE(select("postnas", {{"steps", 0}})->scores->score, first);
  request_.seed = 1;
  EXPECT_NE(select("postnas", kShort)->scores->score, first);
}

TEST_F(PostNasTest, WithFrozenBranchesItIsABeamSearch) {
  request_.budget.units = 2;
  for (const MixerSpec& cheap : {MixerSpec(SlidingWindow{kWindow, kSinks}),
                                 MixerSpec(LinearAttention{LinearKind::kLightning})}) {
    request_.cheap = cheap;
    const Keys keys = {{"steps", 0}};
    Meter cost;
    const Selection selection = *select("postnas", keys, &cost);
    EXPECT_EQ(made("postnas", keys)->label(), "postnas[frozen]");
    const Selection beam = *select("nll_guided", {{"searcher", "beam"}, {"beam_width", 3}});
    EXPECT_EQ(selection.mask, beam.mask);
    EXPECT_EQ(selection.scores->score, beam.scores->score);
    EXPECT_EQ(selection.diagnostics["order"], beam.diagnostics["order"]);
    EXPECT_EQ(cost.backward_tokens, 0);
  }
}

TEST_F(PostNasTest, SaysWhatItCannotDo) {
  EXPECT_THAT(select("postnas", {{"length", 41}}).error().text(),
              HasSubstr("hold 0 texts of 41 tokens"));
  request_.cheap = LinearAttention{LinearKind::kGla};
  EXPECT_THAT(select("postnas", kShort).error().text(), HasSubstr("layer 0"));
  request_.cheap = SlidingWindow{kWindow, kSinks};
  EXPECT_THAT(select("postnas", kShort).error().text(),
              HasSubstr("hint: strategy.steps=0, or mixer=linear_attention"));
  request_.granularity = Granularity::kQueryHead;
  EXPECT_THAT(select("postnas", kShort).error().text(),
              HasSubstr("postnas keeps whole layers, not query_heads"));
}

// Answers of one or two tokens, the model's own with full attention, so that a set of layers gets
// some of them right.
class PostNasAccuracyTest : public testing::TinySelectionTest {
 protected:
  PostNasAccuracyTest() { ask(0); }

  void ask(std::uint64_t seed) {
    Rng rng(seed, "prompts");
    const AttentionPlan full = AttentionPlan::full(model_->layout());
    known_.clear();
    calibration_.samples.clear();
    for (int i = 0; i < 12; ++i) {
      Sample sample;
      for (int t = 0; t < 16; ++t) sample.prompt.push_back(static_cast<TokenId>(rng.below(11)));
      MeteredModel metered(*model_);
      const Request request{sample.prompt, &full, 2};
      sample.answer =
          metered.prefill(std::span(&request, 1))->generate({.max_new_tokens = 1 + i % 2})->front();
      sample.id = std::to_string(i);
      calibration_.samples.push_back(sample);
    }
    calibration_.id = content_id(calibration_.samples);
  }

  // What a set is worth, by a whole transformer in float64 that knows no cache and no reuse.
  struct Worth {
    double accuracy = 0, nll = 0;
    bool better_than(const Worth& other, bool by_accuracy) const {
      if (by_accuracy && accuracy != other.accuracy) return accuracy > other.accuracy;
      return nll < other.nll;
    }
  };
  const Worth& worth(const std::vector<std::size_t>& kept) {
    if (!known_.contains(kept)) known_[kept] = worth_anew(kept);
    return known_[kept];
  }
  Worth worth_anew(const std::vector<std::size_t>& kept) const {
    Mask mask(Granularity::kLayer, request_.layout, false);
    for (const std::size_t layer : kept) mask = mask.with(layer, true);
    const AttentionPlan plan = *request_.plan(mask);
    const auto samples = static_cast<double>(calibration_.samples.size());
    Worth out;
    for (const Sample& sample : calibration_.samples) {
      const testing::Matrix rows = answer_logits(sample, plan);
      bool right = true;
      double nll = 0;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto best = std::max_element(rows[i].begin(), rows[i].end()) - rows[i].begin();
        right &= best == sample.answer[i];
        nll += testing::nll_of(rows[i], sample.answer[i]) / static_cast<double>(rows.size());
      }
      out.accuracy += right ? 1 : 0;
      out.nll += nll / samples;
    }
    out.accuracy /= samples;
    return out;
  }
  // Every set of `k` layers.
  static std::vector<std::vector<std::size_t>> sets(std::size_t k) {
    std::vector<std::vector<std::size_t>> out;
    for (unsigned bits = 0; bits < 1U << kLayers; ++bits) {
      std::vector<std::size_t> layers;
      for (std::size_t layer = 0; layer < kLayers; ++layer)
        if (((bits >> layer) & 1U) != 0) layers.push_back(layer);
      if (layers.size() == k) out.push_back(layers);
    }
    return out;
  }
  std::vector<std::size_t> best_of(const std::vector<std::vector<std::size_t>>& all,
                                   bool by_accuracy) {
    return *std::min_element(all.begin(), all.end(), [&](const auto& a, const auto& b) {
      return worth(a).better_than(worth(b), by_accuracy);
    });
  }

 private:
  std::map<std::vector<std::size_t>, Worth> known_;
};

// Of a width that keeps every single layer the search sees every pair.
TEST_F(PostNasAccuracyTest, FindsTheSetOfMostRightAnswersAndOfTheseOfLeastNll) {
  int matters = 0, tied = 0;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    ask(seed);
    const std::vector<std::size_t> expected = best_of(sets(2), true);
    matters += expected != best_of(sets(2), false) ? 1 : 0;
    for (const auto& set : sets(2))
      tied += set != expected && worth(set).accuracy == worth(expected).accuracy ? 1 : 0;
    const bool reuse = seed % 2 == 0;
    const Keys keys = {
        {"steps", 0}, {"objective", "accuracy"}, {"width", kLayers}, {"reuse", reuse}};
    const Selection selection = *select("postnas", keys);
    EXPECT_EQ(selection.mask.kept_units(), expected);
    const Worth none = worth({}), best = worth(expected);
    EXPECT_GT(best.accuracy, none.accuracy);
    const nlohmann::json& said = selection.diagnostics;
    EXPECT_EQ(said["accuracy"][0], none.accuracy);
    EXPECT_EQ(said["accuracy"][2], best.accuracy);
    EXPECT_NEAR(said["nll"][0].get<double>(), none.nll, 1e-6);
    EXPECT_NEAR(said["nll"][2].get<double>(), best.nll, 1e-6);
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      EXPECT_EQ(said["accuracy_of_units"][layer], worth({layer}).accuracy);
      EXPECT_NEAR(selection.scores->score[layer], none.nll - worth({layer}).nll, 1e-6);
    }
    EXPECT_FALSE(said.contains("order"));  // by which searches for the least NLL are checked
    EXPECT_EQ(said["order_by_accuracy"].size(), 2U);
  }
  EXPECT_GT(matters, 0);
  EXPECT_GT(tied, 0);
}

TEST_F(PostNasAccuracyTest, OfWidthOneItTakesTheBestLayerOfEachRound) {
  request_.budget.units = 3;
  std::vector<std::size_t> expected;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::vector<std::size_t>> next;
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      if (std::count(expected.begin(), expected.end(), layer) > 0) continue;
      next.push_back(expected);
      next.back().push_back(layer);
    }
    expected = best_of(next, true);
  }
  const Selection selection =
      *select("postnas", {{"steps", 0}, {"objective", "accuracy"}, {"width", 1}});
  EXPECT_EQ(selection.diagnostics["order_by_accuracy"], expected);
}

TEST_F(PostNasAccuracyTest, IsAsDearAsTheSearchByNllWhichStaysAsItWas) {
  Meter accuracy, nll;
  Keys keys = {{"steps", 0}, {"width", kLayers}};
  const Selection selection = *select("postnas", keys, &nll);
  keys.emplace_back("objective", "accuracy");
  ASSERT_TRUE(select("postnas", keys, &accuracy));
  EXPECT_EQ(accuracy.evaluations, nll.evaluations);
  EXPECT_EQ(selection.mask.kept_units(), best_of(sets(2), false));
  EXPECT_FALSE(selection.diagnostics.contains("accuracy"));
}

TEST_F(PostNasTest, SearchesATrainedSupernetByAccuracyToo) {
  Keys keys = kShort;
  keys.emplace_back("objective", "accuracy");
  const Selection selection = *select("postnas", keys);
  const nlohmann::json& said = selection.diagnostics;
  const std::vector<double> accuracy = said["accuracy_of_units"];
  EXPECT_EQ(said["accuracy"].back(), *std::max_element(accuracy.begin(), accuracy.end()));
  EXPECT_EQ(said["order_in_supernet"], selection.mask.kept_units());
  EXPECT_FALSE(said.contains("order_by_accuracy"));
  EXPECT_EQ(made("postnas", keys)->label(), "postnas[accuracy]");
  EXPECT_EQ(made("postnas", {{"steps", 0}, {"objective", "accuracy"}})->label(),
            "postnas[frozen,accuracy]");
}

}  // namespace
}  // namespace strata
