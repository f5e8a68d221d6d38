// RULER's averages and effective lengths of made-up answers, worked out by hand.
#include "results/reports/effective_length.h"

#include "leaderboard_fixture.h"

namespace strata::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Answers of four samples to a task at a length: a data set of its own.
struct Runs {
  explicit Runs(const TemporaryFolder& folder) : board(folder.file("e.db"), 4) {}
  void add(const std::string& label, const std::string& task, int length,
           std::vector<double> string_match, const std::string& more = "",
           const std::string& calibration = "") {
    const auto [known, fresh] = first_sample.try_emplace({task, length}, next);
    if (fresh) next += 4;
    board.use_samples(known->second, 4);
    board.add(
        {.label = label,
         .group = {},
         .layers = {label == "b" ? 2 : layer},  // answers belong to a plan
         .nll = {1, 1, 1, 1},
         .contains = std::move(string_match),
         .calibration_nll = calibration.empty() ? std::nullopt : std::optional(1.0),
         .config_json = calibration.empty()
                            ? ""
                            : fmt::format(R"({{"calibration":{{"benchmark":{}}}}})", calibration),
         .benchmark_json = fmt::format(R"({{"task":"{}","length":{}{}}})", task, length, more),
         .benchmark = "ruler"});
  }
  EffectiveLengths lengths() const { return must(effective_lengths(board.store(), {})); }

  Board board;
  std::map<std::pair<std::string, int>, int> first_sample;
  int next = 4;
  int layer = 1;
};

const std::vector<double> kAll = {1, 1, 1, 1};
const std::vector<double> kMost = {1, 1, 1, 0.424};  // .856
const std::vector<double> kFewer = {1, 1, 1, 0.42};  // .855

TEST(EffectiveLength, IsTheLongestWhoseAverageOverTasksReachesTheScore) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.add("full", "vt", 4096, kAll);
  runs.add("full", "cwe", 4096, {1, 1, 1, 0.5});
  runs.add("full", "vt", 8192, kMost);
  runs.add("full", "cwe", 8192, kMost);
  runs.add("full", "vt", 16384, kAll);
  runs.add("full", "cwe", 16384, {1, 1, 0.8, 0});
  const EffectiveLengths lengths = runs.lengths();
  ASSERT_THAT(lengths.rows, SizeIs(1));
  const EffectiveLength& row = lengths.rows[0];
  EXPECT_EQ(row.tasks, 2U);
  EXPECT_NEAR(row.lengths.at(4096).average->value, (1 + 0.875) / 2, 1e-12);
  EXPECT_NEAR(row.lengths.at(16384).tasks.at("cwe").value, 0.7, 1e-12);
  EXPECT_EQ(row.effective, 8192);
}

TEST(EffectiveLength, AveragesHaveIntervalsWhereAnswersVary) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.add("full", "vt", 4096, {1, 0, 1, 0.5});
  runs.add("full", "cwe", 4096, {1, 1, 0.5, 1});
  runs.add("full", "vt", 8192, kAll);
  runs.add("full", "cwe", 8192, kAll);
  const EffectiveLength row = runs.lengths().rows.at(0);
  const LengthScores& varied = row.lengths.at(4096);
  EXPECT_NEAR(varied.average->value, (0.625 + 0.875) / 2, 1e-12);
  ASSERT_TRUE(varied.average->interval);
  EXPECT_LT(varied.average->interval->low, 0.7);
  EXPECT_GT(varied.average->interval->high, 0.8);
  EXPECT_TRUE(varied.tasks.at("vt").interval);
  EXPECT_EQ(row.lengths.at(8192).average->interval, std::nullopt) << "all right";
  EXPECT_THAT(render(effective_length_page(runs.lengths()), {}), HasSubstr("75.0 ["));
}

// Two calibration seeds that chose other plans answer the same four samples, which stay four.
TEST(EffectiveLength, SeveralRunsOnTheSameSamplesAreNoFurtherSamples) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.add("a", "vt", 4096, {1, 0, 1, 0});
  runs.layer = 3;
  runs.add("a", "vt", 4096, {1, 0, 1, 1});
  const EffectiveLengths lengths = runs.lengths();
  ASSERT_THAT(lengths.rows, SizeIs(1));
  EXPECT_EQ(lengths.rows[0].runs, 2U);
  const Estimate& of_both = lengths.rows[0].lengths.at(4096).tasks.at("vt");
  const std::vector<double> means = {1, 0, 1, 0.5};
  EXPECT_DOUBLE_EQ(of_both.value, 0.625);
  EXPECT_DOUBLE_EQ(of_both.interval->low, share_estimate(means, {}).interval->low);
  const std::string text = render(effective_length_page(lengths), {});
  EXPECT_THAT(text, HasSubstr("a (mean of 2 runs)"));
}

TEST(EffectiveLength, BelowTheScoreEverywhereThereIsNone) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.add("full", "vt", 4096, kFewer);
  EXPECT_EQ(runs.lengths().rows.at(0).effective, std::nullopt);
  const std::string page = render(effective_length_page(runs.lengths()), {});
  EXPECT_THAT(page, HasSubstr("none"));
  EXPECT_THAT(page, HasSubstr("published effective lengths are over all 13 tasks of RULER"));
}

TEST(EffectiveLength, ALengthWithoutATaskHasNoAverage) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.add("full", "vt", 4096, kAll);
  runs.add("full", "cwe", 4096, kAll);
  runs.add("full", "vt", 8192, kAll);
  const EffectiveLength row = runs.lengths().rows.at(0);
  EXPECT_FALSE(row.lengths.at(8192).average);
  EXPECT_EQ(row.effective, 4096);
  EXPECT_THAT(render(effective_length_page(runs.lengths()), {}), HasSubstr("1 of 2"));
}

TEST(EffectiveLength, StrategiesVariantsAndOtherBenchmarksAreNotMixed) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.add("a", "vt", 4096, kAll);
  runs.add("b", "vt", 4096, kFewer);
  runs.add("a", "vt", 8192, kFewer, R"(,"variant":"lm_eval")");
  runs.add("a", "vt", 16384, kFewer, R"(,"distractors":2)");
  runs.board.use_samples(1000, 4);
  runs.board.add({.label = "a", .group = {}, .layers = {1}, .nll = {1, 1, 1, 1}});  // niah
  const EffectiveLengths lengths = runs.lengths();
  SCOPED_TRACE(render(effective_length_page(lengths), {}));
  ASSERT_THAT(lengths.rows, SizeIs(4));
  EXPECT_EQ(std::count_if(
                lengths.rows.begin(), lengths.rows.end(),
                [](const EffectiveLength& row) { return row.setting.ends_with("2 distractors"); }),
            1);
  std::map<std::string, std::optional<std::int64_t>> effective;
  for (const EffectiveLength& row : lengths.rows)
    effective[row.strategy + (row.setting.ends_with("lm_eval")       ? " lm_eval"
                              : row.setting.ends_with("distractors") ? " distractors"
                                                                     : "")] = row.effective;
  EXPECT_EQ(effective["a"], 4096);
  EXPECT_EQ(effective["b"], std::nullopt);
  EXPECT_EQ(effective["a lm_eval"], std::nullopt);
}

// At 1,024 tokens it says "niah", at other lengths "niah length=1024".
TEST(EffectiveLength, WhatOneCalibrationChoseIsOneRow) {
  const TemporaryFolder folder;
  Runs runs(folder);
  for (const char* task : {"vt", "cwe"})
    for (const int length : {1024, 2048})
      runs.add("a", task, length, kAll, "", R"({"name":"niah","length":1024})");
  const EffectiveLengths lengths = runs.lengths();
  ASSERT_THAT(lengths.rows, SizeIs(1));
  EXPECT_EQ(lengths.rows[0].strategy, "a ← niah length=1024");
  EXPECT_EQ(lengths.rows[0].effective, 2048);
}

TEST(EffectiveLength, CalibrationsOfEachLengthItselfAreOneRowAndApartFromOthers) {
  const TemporaryFolder folder;
  Runs runs(folder);
  for (const int length : {1024, 2048})
    runs.add("a", "vt", length, kAll, "",
             fmt::format(R"({{"name":"ruler","task":"vt","length":{}}})", length));
  for (const int length : {1024, 2048})
    runs.add("a", "vt", length, kFewer, "", R"({"name":"niah","length":512})");
  std::vector<std::string> names;
  for (const EffectiveLength& row : runs.lengths().rows) names.push_back(row.strategy);
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("a", "a ← niah length=512"));
}

TEST(EffectiveLength, RunsWithoutGeneratedAnswersAreCountedAndLeftOut) {
  const TemporaryFolder folder;
  Runs runs(folder);
  runs.board.use_samples(500, 4);
  runs.board.add({.label = "full",
                  .group = {},
                  .layers = {1},
                  .nll = {1, 1, 1, 1},
                  .benchmark_json = R"({"task":"vt","length":4096})",
                  .generated = false,
                  .benchmark = "ruler"});
  const EffectiveLengths lengths = runs.lengths();
  EXPECT_THAT(lengths.rows, SizeIs(0));
  EXPECT_THAT(lengths.notes,
              Contains("1 run of benchmark=ruler without generated answers: not shown"));
  EXPECT_THAT(lengths.notes, Contains("no runs of benchmark=ruler that generated"));
}

}  // namespace
}  // namespace strata::test
