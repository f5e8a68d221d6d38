// Every selector on the planted problems (docs/planted_problem.md): it must solve what it can solve
// and fail where its evidence cannot show the answer. A new selector is one row of methods().
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <cmath>
#include <map>

#include "strategies/registry.h"
#include "tests/unit/strategies/planted_problem.h"

namespace strata {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::Ge;
using ::testing::Le;
using testing::load_planted;
using ::testing::Not;
using testing::PlantedProblem;
using testing::PlantedSelection;

using Units = std::vector<std::size_t>;
using Keys = std::vector<std::pair<std::string, config::Value>>;  // of strategy=

// Of a unit that does nothing: what random heads of their size may do to the NLL, in nats.
constexpr double kNoise = 1e-3;
// Of an NLL or a score: arithmetic knows planted heads alone, random ones move logits by
// hundredths.
double tolerance(double expected) { return std::abs(expected) < 0.1 ? kNoise : 0.01; }

// The columns of the table.
struct Problem {
  std::string name;
  Granularity granularity;
  std::vector<Units> best;
  double chance;  // of one random draw
};
std::vector<Problem> problems() {
  constexpr Granularity kLayer = Granularity::kLayer, kKvHead = Granularity::kKvHead;
  return {{"add", kLayer, {{2, 5}}, 1.0 / 28},        {"and", kLayer, {{2, 5}}, 1.0 / 28},
          {"or", kLayer, {{2, 5}, {4, 5}}, 1.0 / 14}, {"harm", kLayer, {{2, 5}}, 1.0 / 28},
          {"and3", kLayer, {{1, 4, 6}}, 1.0 / 56},    {"kv_twin", kLayer, {{4}}, 1.0 / 8},
          {"kv_twin", kKvHead, {{5, 8}}, 1.0 / 120}};
}

// What a selector must do with a problem.
enum class Verdict {
  kSolves,
  kBlind,   // sees nothing: every score is noise, so that its choice is one of chance, and wrong
  kAvoids,  // selects no unit of any best set
  kPicks,   // selects exactly `units`, which is wrong
};
struct Outcome {
  Verdict verdict;
  Units units = {};
};

config::Value list(std::vector<double> values) {
  config::List out;
  for (const double value : values) out.emplace_back(value);
  return config::Value(out);
}

config::Value training(std::int64_t steps, std::int64_t batch) {
  config::Map keys;
  keys.set("steps", steps);
  keys.set("batch", batch);
  return config::Value(keys);
}

struct Method {
  std::string name;
  Keys keys;
  std::vector<Outcome> outcomes;  // one a problem
};
std::vector<Method> methods() {
  const Outcome solves{Verdict::kSolves}, blind{Verdict::kBlind}, avoids{Verdict::kAvoids};
  const Outcome picks{Verdict::kPicks, {2, 4}};
  const Keys restore = {{"name", "nll_guided"}, {"mode", "restore"}},
             ablate = {{"name", "nll_guided"}, {"mode", "ablate"}},
             greedy = {{"name", "nll_guided"}, {"searcher", "greedy"}},
             inverted_restore = {{"name", "inverted"}, {"mode", "restore"}},
             inverted_ablate = {{"name", "inverted"}, {"mode", "ablate"}},
             closed = {{"name", "gradient_attribution"}, {"gates", list({0.0})}},
             middle = {{"name", "gradient_attribution"}},
             gradient_greedy = {{"name", "gradient_attribution"}, {"searcher", "greedy"}},
             gate_path = {{"name", "gate_path"}, {"prompts", 1.0}},
             consa = {{"name", "consa"},
                      {"training", training(100, 4)},
                      {"mask_rate", 0.25},
                      {"multiplier_rate", 0.25}},
             duo = {{"name", "duo_attention"},
                    {"fa_stream", "mixed"},
                    {"rate", 0.05},
                    {"training", training(60, 2)}};
  // clang-format off
  return {
      //                                       add     and     or      harm    and3    twin: layers, KV heads
      {"restore", restore,                   {solves, blind,  picks,  solves, blind,  solves, solves}},
      {"ablate", ablate,                     {solves, solves, solves, solves, solves, solves, solves}},
      {"greedy", greedy,                     {solves, blind,  solves, solves, blind,  solves, solves}},
      {"gradient at 0", closed,              {solves, blind,  picks,  solves, blind,  solves, solves}},
      {"gradient at .5", middle,             {solves, solves, solves, solves, solves, solves, solves}},
      {"gradient greedy", gradient_greedy,   {solves, blind,  solves, solves, blind,  solves, solves}},
      {"gate_path", gate_path,               {solves, solves, solves, solves, solves, solves, solves}},
      {"consa", consa,                       {solves, solves, solves, solves, solves, solves, solves}},
      {"duo_attention mixed", duo,           {solves, solves, picks,  solves, solves, solves, solves}},
      {"inverted restore", inverted_restore, {avoids, blind,  avoids, avoids, blind,  avoids, avoids}},
      {"inverted ablate", inverted_ablate,   {avoids, avoids, avoids, avoids, avoids, avoids, avoids}},
  };
  // clang-format on
}

// Scores that methods share, as in a sweep.
class Cache final : public ScoreCache {
 public:
  const Entry* find(const std::string& key) const override {
    const auto it = entries_.find(key);
    return it == entries_.end() ? nullptr : &it->second;
  }
  void insert(const std::string& key, Entry entry) override { entries_[key] = std::move(entry); }

 private:
  std::map<std::string, Entry> entries_;
};

// A problem with the scores that were computed on it.
struct Bench {
  PlantedProblem planted;
  Cache cache;
};

class PlantedTest : public ::testing::TestWithParam<std::size_t> {
 protected:
  explicit PlantedTest(const std::string& dtype = "float32")
      : problem_(problems()[GetParam()]),
        bench_(bench_of(problem_.name, dtype)),
        planted_(bench_.planted),
        truth_(planted_.at(problem_.granularity)),
        request_({.layout = planted_.model->layout(),
                  .granularity = problem_.granularity,
                  .cheap = planted_.cheap}) {
    request_.budget.units = static_cast<std::int64_t>(truth_.units);
  }

  // Loaded once for all tests.
  static Bench& bench_of(const std::string& name, const std::string& dtype) {
    static std::map<std::pair<std::string, std::string>, Bench> benches;
    const auto [it, is_new] = benches.try_emplace({name, dtype});
    if (is_new) it->second.planted = load_planted(name, dtype);
    return it->second;
  }

  Selection select(const Keys& keys) {
    config::Map map;
    for (const auto& [key, value] : keys) map.set(key, value);
    MeteredModel metered(*planted_.model);
    SelectionContext context{.model = &metered,
                             .calibration = &planted_.calibration,
                             .cache = &bench_.cache,
                             .progress = &progress_};
    auto selection = (*make_strategy(config::Value(map)))->select(request_, context);
    STRATA_CHECK(selection.has_value(), "{}", selection.error().text());
    return *std::move(selection);
  }

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

  void expect_outcome(const Outcome& outcome, const Selection& selection) const {
    const Units kept = selection.mask.kept_units();
    switch (outcome.verdict) {
      case Verdict::kSolves: EXPECT_THAT(problem_.best, Contains(kept)); break;
      case Verdict::kBlind:
        ASSERT_TRUE(selection.scores.has_value());
        EXPECT_THAT(selection.scores->score, Each(AllOf(Ge(-kNoise), Le(kNoise))));
        EXPECT_THAT(problem_.best, Not(Contains(kept)));
        break;
      case Verdict::kAvoids:
        for (const Units& set : problem_.best)
          for (const std::size_t unit : set) EXPECT_THAT(kept, Not(Contains(unit)));
        break;
      case Verdict::kPicks:
        EXPECT_EQ(kept, outcome.units);
        EXPECT_THAT(problem_.best, Not(Contains(kept)));
        break;
    }
  }

  Problem problem_;
  Bench& bench_;
  const PlantedProblem& planted_;
  const PlantedSelection& truth_;
  SelectionRequest request_;
  SilentProgress progress_;
};

class PlantedInDoubleTest : public PlantedTest {
 protected:
  PlantedInDoubleTest() : PlantedTest("float64") {}
};

TEST_P(PlantedTest, EveryMethodSolvesOrFailsAsTheTableSays) {
  for (const Method& method : methods()) {
    SCOPED_TRACE(method.name);
    ASSERT_EQ(method.outcomes.size(), problems().size());
    expect_outcome(method.outcomes[GetParam()], select(method.keys));
  }
}

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

std::string name_of(const ::testing::TestParamInfo<std::size_t>& one) {
  const Problem problem = problems()[one.param];
  return fmt::format("{}_{}", problem.name, to_string(problem.granularity));
}
const auto kColumns = ::testing::Range<std::size_t>(0, problems().size());
INSTANTIATE_TEST_SUITE_P(Problems, PlantedTest, kColumns, name_of);
INSTANTIATE_TEST_SUITE_P(Problems, PlantedInDoubleTest, kColumns, name_of);

}  // namespace
}  // namespace strata
