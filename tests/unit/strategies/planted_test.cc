// Every selector on the planted problems (docs/planted_problem.md): it must solve what it can solve
// and fail where its evidence cannot show the answer. A new selector is one row of methods(), here
// or, where it takes gradients, in planted_learned_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>

#include "tests/unit/strategies/planted_table.h"

namespace strata::testing {
namespace {

// Of an NLL or a score: arithmetic knows planted heads alone, random ones move logits by
// hundredths.
double tolerance(double expected) { return std::abs(expected) < 0.1 ? kPlantedNoise : 0.01; }

std::vector<Method> methods() {
  const Outcome solves{Verdict::kSolves}, blind{Verdict::kBlind}, avoids{Verdict::kAvoids},
      untried{Verdict::kUntried};
  const Outcome picks{Verdict::kPicks, {2, 4}}, both_ends{Verdict::kPicks, {0, 1, 7}};
  const auto without = [](Units units) { return Outcome{Verdict::kAvoids, std::move(units)}; };
  const auto nll = [](const char* mode, const char* searcher) {
    return PlantedKeys{{"name", "nll_guided"}, {"mode", mode}, {"searcher", searcher}};
  };
  PlantedKeys beam = nll("restore", "beam");
  beam.emplace_back("beam_width", 28);
  const PlantedKeys regression = {{"name", "mask_regression"},
                                  {"masks", 100},
                                  {"prompts_per_mask", 5}},
                    kl_restore = {{"name", "kl_guided"}, {"mode", "restore"}},
                    kl_ablate = {{"name", "kl_guided"}, {"mode", "ablate"}},
                    lazy = {{"name", "light_transfer"}},
                    mass = {{"name", "attention_mass"}, {"query_from_end", 1}},
                    hydra = {{"name", "hydra_head"}},
                    direct = {{"name", "hydra_head"}, {"rounds", 0}},
                    attribution = {{"name", "hydra_head"}, {"patching", "attribution"}},
                    cheap_branch = {{"name", "hydra_head"}, {"corruption", "cheap_branch"}},
                    ends = {{"name", "ends"}},
                    inverted_restore = {{"name", "inverted"}, {"mode", "restore"}},
                    inverted_ablate = {{"name", "inverted"}, {"mode", "ablate"}};
  // clang-format off
  return {
      //                                                  add     and           or       harm     and3             twin: layers, KV heads
      {"restore", nll("restore", "top_k"),               {solves, blind,        picks,   solves,  blind,           solves, solves}},
      {"ablate", nll("ablate", "top_k"),                 {solves, solves,       solves,  solves,  solves,          solves, solves}},
      {"greedy from restore", nll("restore", "greedy"),  {solves, blind,        solves,  solves,  blind,           solves, solves}},
      {"greedy from ablate", nll("ablate", "greedy"),    {solves, solves,       solves,  solves,  solves,          solves, solves}},
      {"racing from restore", nll("restore", "racing"),  {solves, blind,        untried, solves,  blind,           solves, solves}},
      {"racing from ablate", nll("ablate", "racing"),    {solves, solves,       solves,  solves,  solves,          solves, solves}},
      {"swap from restore", nll("restore", "swap"),      {solves, blind,        solves,  solves,  blind,           solves, solves}},
      {"bidirectional", nll("restore", "bidirectional"), {solves, solves,       picks,   solves,  solves,          solves, solves}},
      {"beam of 28", beam,                               {solves, solves,       solves,  solves,  solves,          solves, solves}},
      {"mask_regression", regression,                    {solves, solves,       solves,  solves,  untried,         solves, solves}},
      {"kl restore", kl_restore,                         {solves, blind,        picks,   solves,  blind,           solves, solves}},
      {"kl ablate", kl_ablate,                           {solves, solves,       solves,  solves,  solves,          solves, solves}},
      {"light_transfer", lazy,                           {avoids, avoids,       avoids,  avoids,  avoids,          avoids, avoids}},
      {"attention_mass", mass,                           {solves, without({5}), picks,   untried, without({4, 6}), solves, solves}},
      {"hydra_head", hydra,                              {solves, solves,       picks,   solves,  solves,          untried, solves}},
      {"hydra_head, direct", direct,                     {solves, without({2}), picks,   solves,  without({1, 4}), untried, solves}},
      {"hydra_head, attribution", attribution,           {solves, without({2}), picks,   solves,  without({1, 4}), untried, solves}},
      {"hydra_head, cheap branch", cheap_branch,         {solves, solves,       picks,   solves,  solves,          untried, solves}},
      {"ends", ends,                                     {avoids, avoids,       avoids,  avoids,  both_ends,       avoids, untried}},
      {"inverted restore", inverted_restore,             {avoids, blind,        avoids,  avoids,  blind,           avoids, avoids}},
      {"inverted ablate", inverted_ablate,               {avoids, avoids,       avoids,  avoids,  avoids,          avoids, avoids}},
  };
  // clang-format on
}

class PlantedMethodTest : public PlantedBench, public ::testing::TestWithParam<Cell> {
 protected:
  PlantedMethodTest() : PlantedBench(GetParam().problem) {}
};

TEST_P(PlantedMethodTest, SolvesOrFailsAsTheTableSays) {
  expect_outcome(GetParam().outcome, select(GetParam().method.keys));
}

INSTANTIATE_TEST_SUITE_P(Cells, PlantedMethodTest, ::testing::ValuesIn(cells_of(methods())),
                         [](const auto& one) { return name_of(one.param); });

class PlantedTest : public PlantedBench, public ::testing::TestWithParam<std::size_t> {
 protected:
  explicit PlantedTest(const std::string& dtype = "float32") : PlantedBench(GetParam(), dtype) {}

  double nll(const std::vector<Sample>& questions, const Mask& mask) const {
    MeteredModel metered(*planted_.model);
    const AttentionPlan plan = *request_.plan(mask);
    double total = 0;
    for (const Sample& sample : questions) {
      const ForcedRequest request{sample.prompt, sample.answer, &plan};
      total += (*metered.score({&request, 1}))[0].mean_nll();
    }
    return total / static_cast<double>(questions.size());
  }

  Mask mask_of(const Units& units) const {
    Mask mask(problem_.granularity, request_.layout, false);
    for (const std::size_t unit : units) mask = mask.with(unit, true);
    return mask;
  }

  void expect_nll(const std::vector<Sample>& questions) const {
    const auto expect = [&](const Mask& mask, double expected) {
      EXPECT_NEAR(nll(questions, mask), expected, tolerance(expected));
    };
    expect(mask_of({}), planted_.nll_none);
    expect(Mask(problem_.granularity, request_.layout, true), planted_.nll_full);
    for (const Units& set : problem_.best) expect(mask_of(set), truth_.nll);
  }

  void expect_scores(const char* mode, const std::vector<double>& expected) {
    SCOPED_TRACE(mode);
    const Selection selection = select({{"name", "nll_guided"}, {"mode", mode}});
    ASSERT_EQ(selection.scores->score.size(), expected.size());
    for (std::size_t unit = 0; unit < expected.size(); ++unit)
      EXPECT_NEAR(selection.scores->score[unit], expected[unit], tolerance(expected[unit])) << unit;
  }
};

class PlantedInDoubleTest : public PlantedTest {
 protected:
  PlantedInDoubleTest() : PlantedTest("float64") {}
};

// The maker's arithmetic tries every set.
TEST_P(PlantedTest, TheBestSetsAreTheKnownOnes) {
  EXPECT_EQ(truth_.best, problem_.best);
  EXPECT_NEAR(planted_.nll_none, std::log(12.0), 1e-9);
}

TEST_P(PlantedTest, RandomDrawsAreRightAsOftenAsChance) {
  constexpr int kDraws = 2000;
  int right = 0;
  for (int draw = 0; draw < kDraws; ++draw)
    right += static_cast<int>(
        std::count(problem_.best.begin(), problem_.best.end(),
                   select({{"name", "random"}, {"draw", draw}}).mask.kept_units()));
  // Exact, of each tail; the seed is fixed, so that this is no matter of luck from run to run.
  const boost::math::binomial chance(kDraws, problem_.chance);
  EXPECT_GT(boost::math::cdf(chance, right), 0.005) << right;
  EXPECT_GT(boost::math::cdf(boost::math::complement(chance, right - 1)), 0.005) << right;
}

TEST_P(PlantedTest, NllAndScoresFollowByArithmetic) {
  expect_nll(planted_.calibration.samples);
  expect_nll(planted_.test);
  expect_scores("restore", truth_.restore);
  expect_scores("ablate", truth_.ablate);
}

TEST_P(PlantedInDoubleTest, NllAndScoresFollowByArithmetic) {
  expect_nll(planted_.calibration.samples);
  expect_scores("restore", truth_.restore);
}

std::string problem_name(const ::testing::TestParamInfo<std::size_t>& one) {
  return name_of(problems()[one.param]);
}
const auto kColumns = ::testing::Range<std::size_t>(0, problems().size());
INSTANTIATE_TEST_SUITE_P(Problems, PlantedTest, kColumns, problem_name);
INSTANTIATE_TEST_SUITE_P(Problems, PlantedInDoubleTest, kColumns, problem_name);

}  // namespace
}  // namespace strata::testing
