// Comparisons of made-up runs, with the figures worked out by hand.
#include "results/reports/compare.h"

#include "leaderboard_fixture.h"

namespace strata::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr double kTolerance = 1e-9;

std::string run_named(const Store& store, const std::string& label) {
  for (const RunRow& run : must(store.runs()))
    if (run.label == label) return run.id;
  ADD_FAILURE() << label;
  return "";
}

RunComparison compared(const Board& board, const std::string& a, const std::string& b,
                       const CompareRequest& request = {}) {
  return must(compare_runs(board.store(), run_named(board.store(), a), board.store(),
                           run_named(board.store(), b), request));
}

const MetricComparison& metric(const RunComparison& comparison, const std::string& name) {
  for (const MetricComparison& one : comparison.metrics)
    if (one.metric == name) return one;
  ADD_FAILURE() << name;
  return comparison.metrics[0];
}

TEST(Compare, PairsTheSamplesAndTestsEachMetricAsItsValuesAllow) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 6);
  board.add(
      {.label = "a", .layers = {1}, .nll = {1, 1, 1, 1, 1, 1}, .contains = {1, 1, 1, 1, 1, 0}});
  board.add({.label = "b",
             .layers = {2},
             .nll = {1.2, 1.4, 1.2, 1.4, 1.2, 1.4},
             .contains = {0, 0, 0, 0, 0, 1}});
  const RunComparison comparison = compared(board, "a", "b");
  EXPECT_EQ(comparison.shared, 6U);
  EXPECT_EQ(comparison.clusters, 6U);
  EXPECT_EQ(comparison.metrics[0].metric, "answer_nll");
  const MetricComparison& nll = comparison.metrics[0];
  EXPECT_NEAR(nll.difference.value, 0.3, kTolerance);
  // SD of .2 and .4 in turn: .1095445; standard error .0447214; t(5) = 2.570582.
  EXPECT_NEAR(nll.difference.interval->low, 0.3 - 0.1149599, 1e-6);
  EXPECT_FALSE(nll.p);
  EXPECT_EQ(nll.test, "too few clusters (6 of 20)");
  ASSERT_TRUE(nll.paired_t_p);
  // t = 6.708204 with 5 degrees of freedom
  EXPECT_NEAR(*nll.paired_t_p, 0.0011144, 1e-6);
  EXPECT_FALSE(nll.detectable);
  EXPECT_EQ(nll.equivalence->answer, Equivalence::kInconclusive) << "no verdict of six samples";
  const MetricComparison& right = metric(comparison, "gen_contains");
  EXPECT_EQ(right.test, "McNemar");
  EXPECT_NEAR(*right.p, 2 * (1 + 6) / 64.0, kTolerance);  // 5 against 1
  // tf_exact is wrong in both: p = 1, and Holm is over the two that have a p.
  EXPECT_NEAR(*right.holm_p, 4 * (1 + 6) / 64.0, kTolerance);
  EXPECT_EQ(comparison.changed_answers, 6U);
}

std::vector<double> flat(std::size_t n, double value) { return std::vector<double>(n, value); }

TEST(Compare, TwentySamplesAllowAVerdict) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 20);
  std::vector<double> b;
  b.reserve(20);
  for (int i = 0; i < 20; ++i) b.push_back(i % 2 == 0 ? 1.2 : 1.4);
  board.add({.label = "a", .layers = {1}, .nll = flat(20, 1)});
  board.add({.label = "b", .layers = {2}, .nll = b});
  const MetricComparison nll = compared(board, "a", "b").metrics[0];
  // SD of .2 and .4 in turn: .1025978; standard error .0229416
  EXPECT_NEAR(*nll.detectable, 2.801585 * 0.0229416, 1e-6);
  EXPECT_EQ(nll.equivalence->answer, Equivalence::kDifferent);
}

TEST(Compare, NeitherFewClustersNorAnswersThatNeverChangedAreEquivalent) {
  const TemporaryFolder folder;
  const auto pair = [&](const std::string& file, int samples,
                        const std::vector<std::string>& clusters) {
    const auto n = static_cast<std::size_t>(samples);
    Board board(folder.file(file), samples, clusters);
    for (const int layer : {1, 2})
      board.add({.label = layer == 1 ? "a" : "b",
                 .layers = {layer},
                 .nll = flat(n, 1.5),
                 .contains = flat(n, 1)});
    return compared(board, "a", "b");
  };
  const RunComparison all_right = pair("a.db", 64, {});
  const MetricComparison& right = metric(all_right, "gen_contains");
  EXPECT_EQ(right.equivalence->answer, Equivalence::kInconclusive);
  EXPECT_EQ(right.equivalence->n_needed, 277U);
  EXPECT_NEAR(*right.detectable, 0.12264, 1e-5);
  EXPECT_FALSE(right.difference.interval);
  const MetricComparison& nll = *all_right.nll();
  EXPECT_EQ(nll.equivalence->answer, Equivalence::kInconclusive);
  EXPECT_FALSE(nll.equivalence->n_needed || nll.detectable || nll.difference.interval);
  const std::string text = render(compare_page(all_right), {});
  EXPECT_THAT(text, HasSubstr("inconclusive (±0.03, n 277)"));
  EXPECT_THAT(text, HasSubstr("inconclusive (±0.02)"));

  std::vector<std::string> three;
  three.reserve(600);
  for (int i = 0; i < 600; ++i) three.push_back("c" + std::to_string(i % 3));
  for (const MetricComparison& few : pair("b.db", 600, three).metrics) {
    EXPECT_FALSE(few.detectable) << few.metric;
    EXPECT_EQ(few.equivalence->answer, Equivalence::kInconclusive) << few.metric;
  }
  std::vector<std::string> large;
  large.reserve(1000);
  for (int i = 0; i < 1000; ++i) large.push_back("c" + std::to_string(i % 20));
  EXPECT_EQ(metric(pair("c.db", 1000, large), "gen_contains").equivalence->answer,
            Equivalence::kInconclusive);
}

TEST(Compare, ClustersOfAnswersVaryByNoLessThanOneAnswerOfThem) {
  const TemporaryFolder folder;
  std::vector<std::string> clusters;
  clusters.reserve(40);
  for (int i = 0; i < 40; ++i) clusters.push_back("c" + std::to_string(i / 2));
  Board board(folder.file("a.db"), 40, clusters);
  for (const int layer : {1, 2})
    board.add({.label = layer == 1 ? "a" : "b", .layers = {layer}, .nll = flat(40, 1)});
  const RunComparison comparison = compared(board, "a", "b");
  // (1.645 + 1.282)² 0.03 (1/2 − 0.03) / 0.03²
  EXPECT_EQ(metric(comparison, "gen_contains").equivalence->n_needed, 135U);
}

TEST(Compare, NumbersBeyondAllBoundsAreComparedWithoutATest) {
  const TemporaryFolder folder;
  for (const int samples : {1, 30}) {
    const auto n = static_cast<std::size_t>(samples);
    for (const double most : {1e308, 1e300}) {
      Board board(folder.file(fmt::format("{} {}.db", samples, most)), samples);
      std::vector<double> mixed = flat(n, -most);
      mixed[0] = most;
      board.add({.label = "a", .layers = {1}, .nll = flat(n, most)});
      board.add({.label = "b", .layers = {2}, .nll = mixed, .contains = flat(n, 1)});
      const RunComparison comparison = compared(board, "a", "b");
      EXPECT_FALSE(comparison.metrics[0].p || comparison.metrics[0].paired_t_p);
      EXPECT_THAT(render(compare_page(comparison), {}), Not(HasSubstr("0000000000")));
      EXPECT_THAT(board.table().blocks, SizeIs(1)) << "no other report ends the program either";
    }
  }
}

// Responses to the samples of a run that has none, scored but not generated.
void force(Board& board, const std::string& label, const std::vector<double>& tf_exact) {
  const RunRow run = must(board.store().run(run_named(board.store(), label)));
  ExecutionRow execution = execution_row(run.id);
  execution.device = "cuda";
  execution.id.clear();
  const std::string id = must(board.store().record(execution));
  for (std::size_t i = 0; i < tf_exact.size(); ++i) {
    ResponseRow response =
        response_row(*run.experiment_id, sample_row(static_cast<int>(i)).id, id, 1);
    response.text.clear();
    response.tokens.clear();
    response.metrics = {{"tf_exact", tf_exact[i]}};
    must(board.store().record(response));
  }
}

TEST(Compare, GeneratedAnswersAreNotComparedWithForcedOnes) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a",
             .layers = {1},
             .nll = {1, 1, 1, 1},
             .contains = {1, 1, 1, 1},
             .exact = {0, 0, 1, 0}});
  board.add({.label = "b", .layers = {2}, .nll = {}});
  force(board, "b", {0, 0, 0, 0});
  board.add({.label = "c", .layers = {3}, .nll = {}});
  force(board, "c", {0, 0, 1, 1});
  const RunComparison mixed = compared(board, "a", "b");
  EXPECT_EQ(mixed.answer_metric, "tf_exact");
  EXPECT_EQ(mixed.changed_answers, 1U);
  EXPECT_EQ(mixed.texts, 0U);
  EXPECT_THAT(mixed.changed, SizeIs(1));
  EXPECT_THAT(render(compare_page(mixed), {}),
              HasSubstr("1 answer became right or wrong by tf_exact; shown: 1"));
  const RunComparison forced = compared(board, "b", "c");
  EXPECT_EQ(forced.changed_answers, 2U);
  EXPECT_THAT(render(compare_page(forced), {}), HasSubstr("wrong  right"));
}

TEST(Compare, ManyClustersAreTestedByFlippingThem) {
  const TemporaryFolder folder;
  std::vector<std::string> clusters;
  std::vector<double> a, b;
  for (int i = 0; i < 40; ++i) {
    clusters.push_back("c" + std::to_string(i / 2));
    a.push_back(1);
    b.push_back(1.5);
  }
  Board board(folder.file("a.db"), 40, clusters);
  board.add({.label = "a", .layers = {1}, .nll = a});
  board.add({.label = "b", .layers = {2}, .nll = b});
  const MetricComparison nll = compared(board, "a", "b").metrics[0];
  EXPECT_EQ(nll.test, "sign flip");
  EXPECT_NEAR(*nll.p, 2 / std::pow(2, 20), kTolerance);  // exact: all or none flipped
  EXPECT_FALSE(nll.paired_t_p);
  // 0/1 answers in clusters are not independent.
  EXPECT_EQ(metric(compared(board, "a", "b"), "gen_contains").test, "sign flip");
}

TEST(Compare, OnlySharedSamplesCountAndNoneIsAnError) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  board.use_samples(2, 4);
  board.add({.label = "b", .layers = {1}, .nll = {2, 2, 9, 9}});
  board.use_samples(10, 2);
  board.add({.label = "c", .layers = {1}, .nll = {2, 2}});
  const RunComparison comparison = compared(board, "a", "b");
  EXPECT_EQ(comparison.shared, 2U);
  EXPECT_EQ(comparison.only_first, 2U);
  EXPECT_EQ(comparison.only_second, 2U);
  EXPECT_NEAR(comparison.metrics[0].difference.value, 1, kTolerance);
  const Result<RunComparison> none = compare_runs(board.store(), run_named(board.store(), "a"),
                                                  board.store(), run_named(board.store(), "c"), {});
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().text(), HasSubstr("a and c have no sample in common"));
}

TEST(Compare, ShowsTheSamplesThatChangedMostAndAsManyAsAskedFor) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .contains = {1, 1, 1, 0}});
  board.add({.label = "b", .layers = {2}, .nll = {1.1, 3, 1.2, 5}, .contains = {0, 0, 1, 0}});
  const RunComparison comparison = compared(board, "a", "b", {.samples = 1});
  ASSERT_THAT(comparison.changed, SizeIs(1));
  EXPECT_EQ(comparison.changed_answers, 2U);
  EXPECT_NEAR(*comparison.changed[0].nll_change, 2, kTolerance);
  EXPECT_EQ(comparison.changed[0].first_right, 1);
  EXPECT_EQ(comparison.changed[0].second_right, 0);
  EXPECT_FALSE(comparison.changed[0].prompt_end.empty());
  const std::string text = render(compare_page(comparison), {});
  EXPECT_THAT(text,
              HasSubstr("2 answers became right or wrong by gen_contains, 0 of 4 texts differ"));
  EXPECT_THAT(text, HasSubstr("right  wrong  +2.000"));
}

TEST(Compare, TwoDatabasesArePairedByWhatWasAsked) {
  const TemporaryFolder folder;
  Board first(folder.file("a.db"), 4), second(folder.file("b.db"), 4);
  for (Board* board : {&first, &second}) {
    const double nll = board == &first ? 1 : 1.5;
    board->add({.label = "a", .layers = {1}, .nll = {nll, nll, nll, nll}});
    board->add({.label = "b", .layers = {2}, .nll = {1, 2, 3, 4}});
  }
  first.add({.label = "alone", .layers = {3}, .nll = {1, 2, 3, 4}});
  const DatabaseComparison comparison = must(compare_databases(first.store(), second.store(), {}));
  ASSERT_THAT(comparison.pairs, SizeIs(2));
  EXPECT_EQ(comparison.pairs[0].first.label, "a");
  EXPECT_NEAR(comparison.pairs[0].metrics[0].difference.value, 0.5, kTolerance);
  EXPECT_THAT(comparison.pairs[1].changed, IsEmpty());
  EXPECT_THAT(comparison.notes, ElementsAre(HasSubstr("1 finished runs have no partner")));
  EXPECT_THAT(render(compare_page(comparison), {}), HasSubstr("2 runs of the same question"));
}

TEST(Compare, APairThatCannotBeComparedHasAPartnerAllTheSame) {
  const TemporaryFolder folder;
  Board first(folder.file("a.db"), 4), second(folder.file("b.db"), 4);
  second.use_samples(10, 4);
  for (Board* board : {&first, &second})
    board->add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}});
  const DatabaseComparison comparison = must(compare_databases(first.store(), second.store(), {}));
  EXPECT_THAT(comparison.pairs, IsEmpty());
  EXPECT_THAT(comparison.notes, ElementsAre(HasSubstr("have no sample in common")));
}

}  // namespace
}  // namespace strata::test
