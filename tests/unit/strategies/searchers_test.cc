// Searchers over a scorer with known answers, against brute force.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/rng.h"
#include "strategies/race.h"
#include "strategies/searcher.h"
#include "strategies/swaps.h"
#include "tests/unit/strategies/known_scorer.h"

namespace strata {
namespace {

using testing::KnownScorer;

constexpr HeadLayout kSix{.layers = 6, .query_heads = 1, .kv_heads = 1};
constexpr double kRounding = 1e-6;  // of tensors, which are in float32

TEST(SearcherTest, TiesGoToTheLowerLayer) {
  const SelectionRequest request{.layout = kSix};
  EXPECT_EQ(top_k(request, {1, 2, 2, 2, 0, 2}, 2).kept_units(), (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(bottom_k(request, {1, 0, 0, 2, 0, 2}, 2).kept_units(),
            (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(top_k(request, {std::nan(""), 1, 2, 0, 0, 0}, 3).kept_units(),
            (std::vector<std::size_t>{1, 2, 3}));
}

TEST(SearcherTest, AtMostDropsUnitsThatGainNothing) {
  SelectionRequest request{.layout = kSix};
  request.budget.mode = BudgetMode::kAtMost;
  EXPECT_EQ(top_k(request, {0.5, -1, 0, 2, -3, -4}, 4).kept_units(),
            (std::vector<std::size_t>{0, 3}));
  EXPECT_EQ(top_k(request, {-1, -2, -3, -4, -5, -6}, 4).kept(), 1u);
}

TEST(SearcherTest, GreedySeesRedundancyThatSingleScoresDoNot) {
  // Units 1 and 2 do the same job (worth 3 together or alone); unit 4 is worth 2.
  const auto value = [](const Mask& m) {
    return (m.at(1) || m.at(2) ? 3.0 : 0.0) + (m.at(4) ? 2.0 : 0.0);
  };
  const SelectionRequest request{.layout = kSix};
  KnownScorer scorer(value);
  const auto forward = greedy_forward(scorer, request, 2);
  EXPECT_EQ(forward->mask.kept_units(), (std::vector<std::size_t>{1, 4}));
  EXPECT_EQ(scorer.rounds, 2);
  EXPECT_EQ(top_k(request, forward->scores.score, 2).kept_units(),
            (std::vector<std::size_t>{1, 2}));
  // An AND of two units is invisible from below and plain from above.
  KnownScorer both([](const Mask& m) { return m.at(0) && m.at(5) ? 1.0 : 0.0; });
  EXPECT_EQ(greedy_backward(both, request, 2)->mask.kept_units(), (std::vector<std::size_t>{0, 5}));
}

// A number for every set and sample, drawn on first sight: every interaction there can be.
class RandomLoss {
 public:
  explicit RandomLoss(std::uint64_t seed) : seed_(seed) {}
  double operator()(const Mask& mask, std::size_t sample) const {
    std::string name = std::to_string(sample);
    for (const std::size_t unit : mask.kept_units()) name += "," + std::to_string(unit);
    return Rng(seed_, name).normal();
  }

 private:
  std::uint64_t seed_;
};

std::vector<Mask> all_sets(std::size_t k) {
  std::vector<Mask> sets;
  for (unsigned bits = 0; bits < 64; ++bits) {
    Mask mask(Granularity::kLayer, kSix, false);
    for (std::size_t unit = 0; unit < 6; ++unit) mask = mask.with(unit, ((bits >> unit) & 1U) != 0);
    if (mask.kept() == k) sets.push_back(mask);
  }
  return sets;
}

constexpr SearchFrom kBothEnds[] = {SearchFrom::kNothing, SearchFrom::kEverything};

TEST(BeamTest, OfAllSetsWidthFindsTheBestSetThatThereIs) {
  int greedy_missed = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomLoss loss(seed);
    const SelectionRequest request{.layout = kSix};
    const std::vector<Mask> sets = all_sets(3);
    ASSERT_EQ(sets.size(), 20u);
    const Mask best =
        *std::min_element(sets.begin(), sets.end(),
                          [&](const Mask& a, const Mask& b) { return loss(a, 0) < loss(b, 0); });
    for (const SearchFrom from : kBothEnds) {
      KnownScorer scorer(1, loss);
      const auto found = beam_search(scorer, request, 3, 20, from);
      EXPECT_EQ(found->mask, best);
      EXPECT_NEAR(found->nll.back(), loss(best, 0), kRounding);
      // 6 singles, 15 pairs, 20 triples: each set once.
      EXPECT_EQ(scorer.toggles, 6u + 15u + 20u);
    }
    KnownScorer scorer(1, loss);
    if (greedy_forward(scorer, request, 3)->mask != best) ++greedy_missed;
  }
  EXPECT_GT(greedy_missed, 5);
}

TEST(BeamTest, FindsAPairWhoseUnitsAreWorthNothingAlone) {
  const auto value = [](const Mask& m) {
    return (m.at(2) && m.at(3) ? 5.0 : 0.0) + (m.at(0) ? 1.0 : 0.0);
  };
  const SelectionRequest request{.layout = kSix};
  KnownScorer greedy(value), narrow(value), wide(value);
  EXPECT_TRUE(greedy_forward(greedy, request, 2)->mask.at(0));
  EXPECT_EQ(beam_search(narrow, request, 2, 2, SearchFrom::kNothing)->mask.kept_units(),
            (std::vector<std::size_t>{0, 1}));  // from {0} and, by its tie with {2}, {1}
  const auto found = beam_search(wide, request, 2, 6, SearchFrom::kNothing);
  EXPECT_EQ(found->mask.kept_units(), (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(found->order, (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(found->nll, (std::vector<double>{0, 0, -5}));
}

TEST(BeamTest, ByAccuracyCountsRightAnswersFirstAndNllAmongEqualOnes) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const RandomLoss loss(seed);
    const auto accuracy = [&](const Mask& mask) {  // one of four
      return std::floor(4 * std::abs(std::sin(100 * loss(mask, 1)))) / 4;
    };
    const auto better = [&](const Mask& a, const Mask& b) {
      return std::pair(-accuracy(a), loss(a, 0)) < std::pair(-accuracy(b), loss(b, 0));
    };
    const SelectionRequest request{.layout = kSix};
    const std::vector<Mask> sets = all_sets(3);
    const Mask best = *std::min_element(sets.begin(), sets.end(), better);
    for (const SearchFrom from : kBothEnds) {
      KnownScorer scorer(1, loss);
      scorer.accuracy = accuracy;
      const auto found = beam_search(scorer, request, 3, 20, from, SearchBy::kAccuracy);
      EXPECT_EQ(found->mask, best);
      EXPECT_EQ(found->accuracy.back(), accuracy(best));
      EXPECT_EQ(found->accuracy.size(), 4U);
      EXPECT_NEAR(found->nll.back(), loss(best, 0), kRounding);
      EXPECT_TRUE(beam_search(scorer, request, 3, 20, from)->accuracy.empty());
    }
  }
}

TEST(BeamTest, ByAccuracyAtMostEndsWhereNeitherItNorNllGetsBetter) {
  SelectionRequest request{.layout = kSix};
  request.budget.mode = BudgetMode::kAtMost;
  const auto kept = [&](const std::function<double(const Mask&)>& accuracy,
                        const std::function<double(const Mask&)>& value) {
    KnownScorer scorer(value);
    scorer.accuracy = accuracy;
    return beam_search(scorer, request, 4, 2, SearchFrom::kNothing, SearchBy::kAccuracy)
        ->mask.kept();
  };
  const auto count = [](const Mask& m) { return static_cast<double>(m.kept()); };
  const auto up_to_two = [](const Mask& m) {
    return static_cast<double>(std::min<std::size_t>(m.kept(), 2));
  };
  const auto falling = [&](const Mask& m) { return -count(m); };
  const auto same = [](const Mask&) { return 0.5; };
  EXPECT_EQ(kept(up_to_two, falling), 2U);
  EXPECT_EQ(kept(same, up_to_two), 2U);
  EXPECT_EQ(kept(falling, count), 1U);  // never nothing
  EXPECT_EQ(kept(count, falling), 4U);
}

TEST(BeamTest, OfWidthOneIsGreedy) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (const BudgetMode mode : {BudgetMode::kExact, BudgetMode::kAtMost}) {
      SelectionRequest request{.layout = kSix};
      request.budget.mode = mode;
      KnownScorer scorer(2, RandomLoss(seed));
      for (const SearchFrom from : kBothEnds) {
        const auto greedy = from == SearchFrom::kNothing ? greedy_forward(scorer, request, 4)
                                                         : greedy_backward(scorer, request, 4);
        const auto beam = beam_search(scorer, request, 4, 1, from);
        EXPECT_EQ(beam->mask, greedy->mask);
        EXPECT_EQ(beam->order, greedy->order);
        EXPECT_EQ(beam->nll, greedy->nll);
        EXPECT_EQ(beam->scores.score, greedy->scores.score);
      }
    }
}

TEST(SearcherTest, JointLossesAreThoseOfTheSetsOnTheWay) {
  const RandomLoss loss(7);
  const SelectionRequest request{.layout = kSix};
  KnownScorer scorer(3, loss);
  const auto mean = [&](const Mask& m) { return (loss(m, 0) + loss(m, 1) + loss(m, 2)) / 3; };
  for (const SearchFrom from : kBothEnds) {
    const bool adding = from == SearchFrom::kNothing;
    for (const auto& found :
         {adding ? greedy_forward(scorer, request, 3) : greedy_backward(scorer, request, 3),
          beam_search(scorer, request, 3, 2, from), racing(scorer, request, 3, 2, from)}) {
      Mask mask(Granularity::kLayer, kSix, !adding);
      ASSERT_EQ(found->nll.size(), 4u);
      EXPECT_NEAR(found->nll[0], mean(mask), kRounding);
      for (std::size_t i = 0; i < 3; ++i) {
        mask = mask.with(found->order[i], adding);
        EXPECT_NEAR(found->nll[i + 1], mean(mask), kRounding);
      }
      EXPECT_EQ(mask, found->mask);
    }
  }
}

// Units 4 and 1 are worth most, on every sample; the noise of a sample is less than their lead.
double clear_loss(const Mask& mask, std::size_t sample) {
  constexpr double kWorth[] = {0.1, 2.0, 0.3, 0.2, 3.0, 0.0};
  double loss = 9;
  for (const std::size_t unit : mask.kept_units())
    loss -= kWorth[unit] + 0.1 * std::sin(static_cast<double>(7 * unit + 3 * sample));
  return loss;
}

TEST(RacingTest, FindsGreedysSetWithFewerToggles) {
  const SelectionRequest request{.layout = kSix};
  KnownScorer all(8, clear_loss), raced(8, clear_loss);
  const auto greedy = greedy_forward(all, request, 2);
  const auto race = racing(raced, request, 2, 3, SearchFrom::kNothing);
  EXPECT_EQ(race->order, (std::vector<std::size_t>{4, 1}));
  EXPECT_EQ(race->order, greedy->order);
  EXPECT_EQ(all.toggles, 8u * (6 + 5));
  // 2 samples for all, 2 for the better half, 4 for the best quarter (halves rounded up).
  EXPECT_EQ(raced.toggles, (6u * 2 + 3 * 2 + 2 * 4) + (5u * 2 + 3 * 2 + 2 * 4));
  // The winner saw every sample, so its score is greedy's.
  EXPECT_NEAR(race->scores.score[4], greedy->scores.score[4], kRounding);
  EXPECT_NEAR(race->scores.standard_error[4], greedy->scores.standard_error[4], kRounding);
  // What was measured is kept, and the scores are its means: units that were dropped on the samples
  // that they saw.
  const ScoreTensor& tensor = *race->scores.tensor;
  std::vector<std::size_t> seen(6);
  const std::vector<std::vector<double>> gains = tensor.sample_gains();
  ASSERT_EQ(gains.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i)
    for (std::size_t unit = 0; unit < 6; ++unit) {
      if (std::isnan(gains[i][unit])) continue;
      ++seen[unit];
      const auto sample = static_cast<std::size_t>(std::stoi(tensor.samples[i]));
      EXPECT_NEAR(gains[i][unit],
                  clear_loss(Mask(Granularity::kLayer, kSix, false), sample) -
                      clear_loss(Mask::of_layers(kSix, {static_cast<int>(unit)}), sample),
                  kRounding);
    }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<std::size_t>{2, 2, 2, 4, 8, 8}));
  EXPECT_EQ(tensor.scores(), race->scores.score);
  ASSERT_EQ(race->leads.size(), 2u);
  std::vector<double> lead;
  for (std::size_t s = 0; s < 8; ++s)
    lead.push_back(clear_loss(Mask::of_layers(kSix, {1}), s) -
                   clear_loss(Mask::of_layers(kSix, {4}), s));
  EXPECT_NEAR(race->leads[0].mean, mean_error(lead).mean, kRounding);
  EXPECT_NEAR(race->leads[0].standard_error, mean_error(lead).standard_error, kRounding);
}

TEST(RacingTest, OfOneStageIsGreedyWhateverTheInteractions) {
  for (std::uint64_t seed = 0; seed < 20; ++seed)
    for (const BudgetMode mode : {BudgetMode::kExact, BudgetMode::kAtMost}) {
      SelectionRequest request{.layout = kSix};
      request.budget.mode = mode;
      KnownScorer scorer(5, RandomLoss(seed));
      EXPECT_EQ(racing(scorer, request, 4, 1, SearchFrom::kNothing)->order,
                greedy_forward(scorer, request, 4)->order);
      EXPECT_EQ(racing(scorer, request, 4, 1, SearchFrom::kEverything)->order,
                greedy_backward(scorer, request, 4)->order);
    }
}

TEST(RaceTest, EachStageSeesNewSamplesAndHalvesTheField) {
  std::vector<std::pair<std::size_t, std::vector<std::size_t>>> asked;
  const std::vector<std::size_t> samples = {9, 8, 7, 6, 5};
  const auto values = [&](std::span<const std::size_t> contenders,
                          std::span<const std::size_t> seen) {
    asked.emplace_back(contenders.size(), std::vector<std::size_t>(seen.begin(), seen.end()));
    std::vector<std::vector<double>> out;
    for (const std::size_t c : contenders)
      out.emplace_back(seen.size(), c == 3 ? 1.0 : 0.0);  // 3 is best, all others tie
    return Result<std::vector<std::vector<double>>>(out);
  };
  const auto raced = race(5, samples, 3, values);
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[0], std::pair(std::size_t{5}, std::vector<std::size_t>{9, 8}));
  EXPECT_EQ(asked[1], std::pair(std::size_t{3}, std::vector<std::size_t>{7}));
  EXPECT_EQ(asked[2], std::pair(std::size_t{2}, std::vector<std::size_t>{6, 5}));
  EXPECT_EQ(raced->finalists, (std::vector<std::size_t>{3, 0}));
  EXPECT_EQ(raced->values[0].size(), 5u);
  EXPECT_EQ(raced->values[1].size(), 3u);
  EXPECT_EQ(raced->values[4].size(), 2u);
  EXPECT_EQ(raced->evaluations, 5u * 2 + 3 * 1 + 2 * 2);
}

TEST(RaceTest, TheLastTwoAreJudgedOnAllSamples) {
  // Contender 0 leads until the last sample.
  const std::vector<std::size_t> samples = {0, 1, 2, 3};
  const auto values = [](std::span<const std::size_t> contenders,
                         std::span<const std::size_t> seen) {
    std::vector<std::vector<double>> out;
    for (const std::size_t c : contenders) {
      out.emplace_back();
      for (const std::size_t sample : seen)
        out.back().push_back(c == 0 ? 1.0 : sample == 3 ? 9.0 : 0.0);
    }
    return Result<std::vector<std::vector<double>>>(out);
  };
  for (const std::size_t contenders : {2U, 3U})
    EXPECT_EQ(race(contenders, samples, 3, values)->finalists, (std::vector<std::size_t>{1, 0}));
}

MaskLosses known_losses(KnownScorer::Loss loss, std::size_t* evaluations = nullptr) {
  return [loss = std::move(loss), evaluations](std::span<const MaskTrial> trials) {
    std::vector<std::vector<double>> out;
    for (const MaskTrial& trial : trials) {
      out.emplace_back();
      for (const std::size_t sample : trial.samples) out.back().push_back(loss(trial.mask, sample));
      if (evaluations != nullptr) *evaluations += trial.samples.size();
    }
    return Result<std::vector<std::vector<double>>>(out);
  };
}

const std::vector<std::size_t> kEight = {0, 1, 2, 3, 4, 5, 6, 7};

std::vector<double> single_scores(const KnownScorer::Loss& loss) {
  KnownScorer scorer(8, loss);
  return scorer
      .score(Mask(Granularity::kLayer, kSix, false), std::vector<std::size_t>{0, 1, 2, 3, 4, 5})
      ->score;
}

TEST(SwapTest, RepairsAnOrThatSingleScoresTakeTwice) {
  // 2 and 4 do one job, 5 does another that is worth less.
  const auto loss = [](const Mask& m, std::size_t) {
    return 2 - (m.at(2) || m.at(4) ? 1.0 : 0.0) - (m.at(5) ? 0.8 : 0.0);
  };
  const SelectionRequest request{.layout = kSix};
  const std::vector<double> scores = single_scores(loss);
  const Mask start = top_k(request, scores, 2);
  EXPECT_EQ(start.kept_units(), (std::vector<std::size_t>{2, 4}));
  const auto refined = refine_by_swaps(start, scores, kEight, known_losses(loss), {});
  EXPECT_EQ(refined->mask.kept_units(), (std::vector<std::size_t>{2, 5}));
  ASSERT_EQ(refined->swaps.size(), 1u);
  EXPECT_EQ(refined->swaps[0].out, 4u);
  EXPECT_EQ(refined->swaps[0].in, 5u);
  EXPECT_NEAR(refined->swaps[0].gain.mean, 0.8, 1e-12);
  EXPECT_NEAR(refined->start_nll, 1.0, 1e-12);
  EXPECT_NEAR(refined->nll, 0.2, 1e-12);
  EXPECT_FALSE(refined->refused->gain.mean > 0);
}

TEST(SwapTest, CompletesAnAndOfWhichHalfIsKept) {
  // 1 and 5 together are worth 3; 1 has a little worth of its own, 0 a little less.
  const auto loss = [](const Mask& m, std::size_t) {
    return 4 - (m.at(1) && m.at(5) ? 3.0 : 0.0) - (m.at(1) ? 0.2 : 0.0) - (m.at(0) ? 0.1 : 0.0);
  };
  const std::vector<double> scores = single_scores(loss);
  const Mask start = top_k({.layout = kSix}, scores, 2);
  EXPECT_EQ(start.kept_units(), (std::vector<std::size_t>{0, 1}));
  const auto wide = refine_by_swaps(start, scores, kEight, known_losses(loss), {.candidates = 4});
  EXPECT_EQ(wide->mask.kept_units(), (std::vector<std::size_t>{1, 5}));
  // Unit 5 ties with 2, 3 and 4 at nothing and is the last of them: three do not reach it.
  const auto narrow = refine_by_swaps(start, scores, kEight, known_losses(loss), {.candidates = 3});
  EXPECT_EQ(narrow->mask, start);
}

TEST(SwapTest, MakesOneSwapARound) {
  // The scores have it upside down.
  const auto loss = [](const Mask& m, std::size_t) {
    double sum = 0;
    for (const std::size_t unit : m.kept_units()) sum -= static_cast<double>(unit);
    return sum;
  };
  const std::vector<double> scores = {6, 5, 4, 3, 2, 1};
  const Mask start = Mask::of_layers(kSix, {0, 1, 2});
  const std::vector<std::vector<std::size_t>> expected = {
      {0, 1, 2}, {1, 2, 5}, {2, 4, 5}, {3, 4, 5}, {3, 4, 5}};
  for (std::size_t rounds = 0; rounds < expected.size(); ++rounds)
    EXPECT_EQ(refine_by_swaps(start, scores, kEight, known_losses(loss), {.rounds = rounds})
                  ->mask.kept_units(),
              expected[rounds]);
}

TEST(SwapTest, RefusesWhatLiesWithinTheNoise) {
  // 5 for 0 saves 0.1 on average, +0.6 on one half of the samples and −0.4 on the other.
  const auto loss = [](const Mask& m, std::size_t sample) {
    return m.at(5) && !m.at(0) ? (sample % 2 == 0 ? -0.6 : 0.4) : (m.at(0) ? 0.0 : 5.0);
  };
  const std::vector<double> scores = {2, 0, 0, 0, 0, 1};
  const Mask start = Mask::of_layers(kSix, {0});
  const auto refused = refine_by_swaps(start, scores, kEight, known_losses(loss), {});
  EXPECT_EQ(refused->mask, start);
  EXPECT_TRUE(refused->swaps.empty());
  ASSERT_TRUE(refused->refused);
  EXPECT_EQ(refused->refused->in, 5u);
  EXPECT_NEAR(refused->refused->gain.mean, 0.1, 1e-12);
  EXPECT_NEAR(refused->refused->gain.standard_error, std::sqrt(8 * 0.25 / 7 / 8), 1e-12);
  const auto made = refine_by_swaps(start, scores, kEight, known_losses(loss), {.errors = 0.5});
  EXPECT_EQ(made->mask.kept_units(), std::vector<std::size_t>{5});
}

TEST(SwapTest, RacesFindTheSwapWithFewerEvaluations) {
  const std::vector<double> scores = {6, 5, 4, 3, 2, 1};
  const Mask start = Mask::of_layers(kSix, {0, 1, 2});
  std::size_t all = 0, raced = 0;
  const auto slow = refine_by_swaps(start, scores, kEight, known_losses(clear_loss, &all),
                                    {.rounds = 1, .stages = 1});
  const auto fast = refine_by_swaps(start, scores, kEight, known_losses(clear_loss, &raced),
                                    {.rounds = 1, .stages = 3});
  EXPECT_EQ(slow->mask.kept_units(), (std::vector<std::size_t>{1, 2, 4}));
  EXPECT_EQ(fast->mask, slow->mask);
  EXPECT_NEAR(fast->nll, slow->nll, 1e-12);
  EXPECT_EQ(all, 8u + 9 * 8);
  EXPECT_EQ(raced, 8u + 9 * 2 + 5 * 2 + 3 * 4);
}

TEST(SwapTest, OneSampleIsAnErrorAndAFullSetHasNothingToSwap) {
  const auto loss = [](const Mask&, std::size_t) { return 1.0; };
  const std::vector<double> scores(6, 0.0);
  EXPECT_EQ(refine_by_swaps(Mask::of_layers(kSix, {0}), scores, std::vector<std::size_t>{0},
                            known_losses(loss), {})
                .error()
                .text(),
            "swaps are judged by a standard error over calibration samples; expected at least 2 "
            "samples, got 1\n  hint: calibration.samples=8");
  const auto full = refine_by_swaps(Mask(Granularity::kLayer, kSix, true), scores, kEight,
                                    known_losses(loss), {});
  EXPECT_EQ(full->mask.kept(), 6u);
  EXPECT_FALSE(full->refused);
}

TEST(BidirectionalTest, AveragesAreShapleyValuesWhereUnitsInteractInPairs) {
  double main[6], pair[6][6];
  Rng rng(5, "shapley");
  for (auto& value : main) value = rng.normal();
  for (auto& row : pair)
    for (double& value : row) value = rng.normal();
  const auto value = [&](const Mask& m) {
    double sum = 0;
    for (const std::size_t a : m.kept_units()) {
      sum += main[a];
      for (const std::size_t b : m.kept_units())
        if (a < b) sum += pair[a][b];
    }
    return sum;
  };
  std::vector<std::size_t> all = {0, 1, 2, 3, 4, 5};
  KnownScorer scorer(value);
  const auto restore = scorer.score(Mask(Granularity::kLayer, kSix, false), all);
  const auto ablate = scorer.score(Mask(Granularity::kLayer, kSix, true), all);
  const UnitScores average = bidirectional(*restore, *ablate);
  std::vector<double> shapley(6);
  int orders = 0;
  do {
    Mask mask(Granularity::kLayer, kSix, false);
    for (const std::size_t unit : all) {
      shapley[unit] += value(mask.with(unit, true)) - value(mask);
      mask = mask.with(unit, true);
    }
    ++orders;
  } while (std::next_permutation(all.begin(), all.end()));
  EXPECT_EQ(orders, 720);
  for (std::size_t unit = 0; unit < 6; ++unit)
    EXPECT_NEAR(average.score[unit], shapley[unit] / 720, kRounding);
}

TEST(BidirectionalTest, TheTensorHoldsBothSidesPositionByPosition) {
  ScoreTensor tensor{.context = Mask(Granularity::kLayer, {2, 1, 1}, false),
                     .samples = {"a", "b"},
                     .clusters = {"", "c"},
                     .positions = {2, 1},
                     .context_nll = {1, 2, 3},
                     .gains = {10, 11, 20, 21, 12, 22}};
  const UnitScores restore = scores_of(tensor);
  tensor.context = Mask(Granularity::kLayer, {2, 1, 1}, true);
  tensor.context_nll = {4, 5, 6};
  for (float& gain : tensor.gains) gain += 100;
  const UnitScores both = bidirectional(restore, scores_of(tensor));
  EXPECT_EQ(*both.tensor,
            (ScoreTensor{.context = Mask(Granularity::kLayer, {2, 1, 1}, false),
                         .kind = GainKind::kBothSides,
                         .samples = {"a", "b"},
                         .clusters = {"", "c"},
                         .positions = {4, 2},
                         .context_nll = {1, 2, 4, 5, 3, 6},
                         .gains = {10, 11, 110, 111, 20, 21, 120, 121, 12, 112, 22, 122}}));
  EXPECT_EQ(both.score, (std::vector<double>{(60.5 + 62) / 2, (70.5 + 72) / 2}));
}

TEST(BidirectionalTest, RanksIgnoreTheScaleOfEither) {
  SelectionRequest request{.layout = kSix};
  UnitScores restore{.score = {100, 0, 0, 90, 0, -5}, .standard_error = {}};
  UnitScores ablate{.score = {-0.2, 0.3, 0.1, 0.2, 0, -1}, .standard_error = {}};
  // Places 0 3 3 1 3 5 and 4 0 2 1 3 5: sums 4 3 5 2 6 10.
  EXPECT_EQ(top_k_by_rank(request, restore, ablate, 2).kept_units(),
            (std::vector<std::size_t>{1, 3}));
  EXPECT_EQ(top_k_by_rank(request, restore, ablate, 5).kept(), 5u);
  request.budget.mode = BudgetMode::kAtMost;
  EXPECT_EQ(top_k_by_rank(request, restore, ablate, 6).kept_units(),
            (std::vector<std::size_t>{0, 1, 2, 3}));  // 4 and 5 gain nothing
}

}  // namespace
}  // namespace strata
