// Selectors against a reference: made-up runs, with figures worked out by hand or by SciPy.
#include <cmath>
#include <nlohmann/json.hpp>

#include "leaderboard_fixture.h"
#include "statistics_golden.h"

namespace strata::test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

using Numbers = std::vector<double>;

constexpr double kTolerance = 1e-9;
constexpr std::size_t kSamples = 20;

// Runs of selectors of 3 of the 8 layers, each on a plan of its own, on calibration sets 0, 1, …
class Sweep {
 public:
  explicit Sweep(const TemporaryFolder& folder, std::size_t samples = kSamples)
      : board_(folder.file("sweep.db"), static_cast<int>(samples)), samples_(samples) {}

  Board& board() { return board_; }

  // A run a calibration set from `first` on; its mean NLL is the number given, and samples lie .01
  // above and below it in turn where `uneven`.
  void add(Entry entry, const Numbers& nll, bool uneven = false, int first = 0) {
    for (std::size_t seed = 0; seed < nll.size(); ++seed) {
      entry.layers = next_plan();
      add_run(entry, first + static_cast<int>(seed), nll[seed], uneven);
    }
  }
  void add_run(Entry entry, int calibration, double nll, bool uneven = false) {
    entry.nll.clear();
    for (std::size_t i = 0; i < samples_; ++i)
      entry.nll.push_back(nll + (uneven ? (i % 2 == 0 ? 0.01 : -0.01) : 0));
    entry.budget = 3;
    entry.with_selection = true;
    entry.calibration = fmt::format("{} {}", entry.config_json, calibration);
    board_.add(entry);
  }
  std::vector<int> next_plan() {
    int bits = 0;
    do bits = plan_++;
    while (__builtin_popcount(static_cast<unsigned>(bits)) != 3);
    std::vector<int> layers;
    for (int layer = 0; layer < 8; ++layer)
      if ((bits >> layer & 1) != 0) layers.push_back(layer);
    return layers;
  }
  std::vector<ReferenceComparison> comparisons() const {
    return board_.table().blocks.at(0).comparisons;
  }

 private:
  Board board_;
  std::size_t samples_;
  int plan_ = 0;
};

const Numbers kReference = {0.10, 0.20, 0.15, 0.12, 0.18};

Numbers plus(Numbers values, const Numbers& differences) {
  for (std::size_t i = 0; i < values.size(); ++i) values[i] += differences[i];
  return values;
}

TEST(ReferenceClaims, ADifferenceToTheReferenceIsTheMeanOverSharedSeedsAsByHand) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  sweep.add({.label = "nll_ablate", .diagnostics_json = R"({"flops_without_reuse": 6e12})"},
            kReference);
  // Mean .005; deviations −.001, .001, .005, −.005, 0: SD √(52e-6 / 4), standard error SD / √5,
  // t(4) = 2.131847 at 95 % one-sided.
  sweep.add({.label = "a"}, plus(kReference, {0.004, 0.006, 0.010, 0.0, 0.005}), true);
  sweep.add({.label = "worse"}, plus(kReference, {0.1, 0.2, 0.15, 0.1, 0.2}));
  sweep.add({.label = "inverted", .group = "inverted"}, Numbers(5, 2.0));  // a control
  const auto comparisons = sweep.comparisons();
  ASSERT_THAT(comparisons, SizeIs(1));
  EXPECT_EQ(comparisons[0].reference, "nll_ablate");
  EXPECT_EQ(comparisons[0].family, 2U);
  ASSERT_THAT(comparisons[0].claims, SizeIs(2));
  const ReferenceClaim& a = comparisons[0].claims[0];
  const double error = std::sqrt(52e-6 / 4 / 5);
  EXPECT_EQ(a.label, "a");
  EXPECT_THAT(a.differences, SizeIs(5));
  EXPECT_EQ(a.same_plans, 0U);
  EXPECT_NEAR(a.mean(), 0.005, kTolerance);
  EXPECT_NEAR(*a.between_seed_sd(), std::sqrt(52e-6 / 4), kTolerance);
  EXPECT_NEAR(a.non_inferiority->upper, 0.005 + 2.131847 * error, 1e-8);
  EXPECT_EQ(a.non_inferior(), true);
  // Holm: the smaller of two p-values counts twice.
  EXPECT_NEAR(*a.holm_p, 2 * a.non_inferiority->p, kTolerance);
  EXPECT_EQ(a.equivalence->answer, Equivalence::kEquivalent);
  // The selections' 1.5 of the 6 TFLOP that toggling without reuse takes.
  EXPECT_NEAR(*a.flops_share, 0.25, kTolerance);
  const ReferenceClaim& worse = comparisons[0].claims[1];
  EXPECT_NEAR(worse.mean(), 0.15, kTolerance);
  EXPECT_EQ(worse.non_inferior(), false);
  EXPECT_EQ(worse.equivalence->answer, Equivalence::kDifferent);
  EXPECT_LT(*worse.sign_flip_p, 0.001);  // worse on all 20 samples
}

TEST(ReferenceClaims, BoundsAndPValuesOfAReportEqualScipys) {
  int compared = 0;
  for (const nlohmann::json& c : strata::testing::golden()["non_inferiority"]) {
    const TemporaryFolder folder;
    Sweep sweep(folder);
    const auto values = c["values"].get<Numbers>();
    if (c["margin"] != kNllMargin) continue;
    const Numbers reference(values.size(), 0.5);
    sweep.add({.label = "nll_restore"}, reference);
    sweep.add({.label = "a"}, plus(reference, values));
    const ReferenceClaim claim = sweep.comparisons().at(0).claims.at(0);
    EXPECT_NEAR(claim.non_inferiority->upper, c["upper"].get<double>(), kTolerance);
    EXPECT_NEAR(claim.non_inferiority->p, c["p"].get<double>(), kTolerance);
    ++compared;
  }
  EXPECT_GE(compared, 3);
}

TEST(ReferenceClaims, ASelectorThatChoosesTheReferencesPlansIsEquivalentWithoutAnySpread) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  for (int seed = 0; seed < 5; ++seed) {
    const std::vector<int> layers = sweep.next_plan();
    const double nll = kReference[static_cast<std::size_t>(seed)];
    sweep.add_run({.label = "nll_ablate", .layers = layers}, seed, nll);
    sweep.add_run({.label = "a", .layers = layers}, seed, nll);
  }
  const LeaderboardTable table = sweep.board().table();
  const ReferenceClaim& claim = table.blocks.at(0).comparisons.at(0).claims.at(0);
  EXPECT_EQ(claim.same_plans, 5U);
  EXPECT_EQ(claim.differences, Numbers(5, 0.0));
  EXPECT_EQ(claim.between_seed_sd(), 0.0);
  EXPECT_EQ(claim.non_inferiority->upper, 0.0);
  EXPECT_EQ(claim.non_inferior(), true);
  EXPECT_EQ(claim.equivalence->answer, Equivalence::kEquivalent);
  EXPECT_EQ(claim.sign_flip_p, 1.0);
  const std::string text = render_claims(table, {});
  EXPECT_THAT(text,
              HasSubstr("a                     5 (5)  +0.0000  0.0000  +0.0000  yes           0"
                        "       0  equivalent (2)    1.000"));
}

TEST(ReferenceClaims, DevelopmentRunsOfTheSameSettingChooseTheReference) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  const std::string development =
      R"({"length":512,"samples":9,"split":"development","task":"single"})";
  // On test and on calibration nll_ablate is better, on development it is not.
  sweep.add({.label = "nll_restore", .calibration_nll = 0.5}, plus(kReference, Numbers(5, 0.1)));
  sweep.add({.label = "nll_ablate", .calibration_nll = 0.4}, kReference);
  const auto by_calibration = sweep.comparisons();
  ASSERT_THAT(by_calibration, SizeIs(1));
  EXPECT_EQ(by_calibration[0].reference, "nll_ablate");
  EXPECT_EQ(by_calibration[0].chosen,
            "chosen on the calibration prompts, as there are no development runs of both: NLL "
            "0.400, nll_restore has 0.500 (5 seeds)");
  sweep.board().use_samples(100, kSamples);
  sweep.add({.label = "nll_restore", .benchmark_json = development}, {0.2, 0.3});
  sweep.add({.label = "nll_ablate", .window = 22, .benchmark_json = development}, {0.3, 0.6});
  EXPECT_EQ(sweep.comparisons().at(0).reference, "nll_ablate");  // another window's
  sweep.add({.label = "nll_ablate", .benchmark_json = R"({"length":9,"split":"development"})"},
            {0.3, 0.6});
  EXPECT_EQ(sweep.comparisons().at(0).reference, "nll_ablate");  // another length's
  sweep.board().use_samples(200, kSamples);
  sweep.add({.label = "nll_restore", .benchmark_json = development}, {0.2, 0.3});
  sweep.add({.label = "nll_ablate", .benchmark_json = development}, {0.3, 0.6, 0.0});  // 2 shared
  const LeaderboardTable table = sweep.board().table();
  EXPECT_EQ(table.blocks[0].comparisons.at(0).reference, "nll_restore");
  EXPECT_EQ(table.blocks[0].comparisons[0].chosen,
            "chosen on the development split: NLL 0.250, nll_ablate has 0.450 (2 seeds)");
  // Nothing is claimed on development.
  for (std::size_t i = 1; i < table.blocks.size(); ++i) {
    EXPECT_EQ(table.blocks[i].split, "development");
    EXPECT_THAT(table.blocks[i].comparisons, IsEmpty());
  }
}

TEST(ReferenceClaims, WithoutAnythingToChooseTheReferenceByThereIsNoComparison) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  sweep.add({.label = "nll_restore"}, kReference);
  sweep.add({.label = "nll_ablate"}, kReference);
  const LeaderboardBlock block = sweep.board().only_block();
  EXPECT_THAT(block.comparisons, IsEmpty());
  EXPECT_THAT(block.notes, Contains(HasSubstr("no claims against a reference")));
}

TEST(ReferenceClaims, OnlyCalibrationSetsThatBothLookedAtCount) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  sweep.add({.label = "nll_ablate"}, kReference);
  // The sets 3, 4, 5, 6: two of the reference's.
  sweep.add({.label = "a"}, {0.22, 0.28, 9.0, 9.0}, false, 3);
  sweep.add({.label = "b"}, {0.5}, false, 5);
  // As many prompts as nothing else looked at.
  sweep.add({.label = "c", .config_json = R"({"calibration": {"samples": 64}})"}, Numbers(5, 1.0));
  const auto comparisons = sweep.comparisons();
  ASSERT_THAT(comparisons, SizeIs(1));
  ASSERT_THAT(comparisons[0].claims, SizeIs(1));
  const ReferenceClaim& a = comparisons[0].claims[0];
  ASSERT_THAT(a.differences, SizeIs(2));
  EXPECT_NEAR(a.mean(), 0.1, kTolerance);
  // Two seeds support no answer and belong to no family.
  EXPECT_EQ(comparisons[0].family, 0U);
  EXPECT_THAT(render_claims(sweep.board().table(), {}),
              HasSubstr(" · 5 seeds are needed for an answer\n"));
  EXPECT_FALSE(a.non_inferiority || a.holm_p || a.equivalence || a.sign_flip_p || a.flops_share);
  EXPECT_THAT(render_claims(sweep.board().table(), {}),
              HasSubstr("a                     2 (0)  +0.1000  0.0000      –  not supported  –"));
}

TEST(ReferenceClaims, CalibrationSettingsAreComparedEachWithItsOwnReference) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  for (const char* config :
       {R"({"calibration": {"samples": 8}})", R"({"calibration": {"samples": 64}})"}) {
    sweep.add({.label = "nll_ablate", .config_json = config}, kReference);
    sweep.add({.label = "a", .config_json = config}, plus(kReference, Numbers(5, 0.01)));
  }
  const auto comparisons = sweep.comparisons();
  ASSERT_THAT(comparisons, SizeIs(2));
  EXPECT_EQ(comparisons[0].calibration, "8 calibration prompts");
  EXPECT_EQ(comparisons[1].calibration, "64 calibration prompts");
  for (const ReferenceComparison& comparison : comparisons) {
    EXPECT_EQ(comparison.family, 1U);
    EXPECT_NEAR(comparison.claims.at(0).mean(), 0.01, kTolerance);
  }
}

TEST(ReferenceClaims, TransferIsComparedWithTransfer) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  for (const char* other : {"null", R"({"length":1024,"name":"niah"})"}) {
    const std::string config =
        fmt::format(R"({{"calibration": {{"benchmark": {}, "samples": 8}}}})", other);
    const double own = other == std::string("null") ? 0.0 : 0.3;
    sweep.add({.label = "nll_ablate",
               .config_json = config,
               .benchmark_json = R"({"length":4096,"name":"niah"})"},
              plus(kReference, Numbers(5, own)));
    sweep.add(
        {.label = "a", .config_json = config, .benchmark_json = R"({"length":4096,"name":"niah"})"},
        plus(kReference, Numbers(5, own + 0.01)));
  }
  const auto comparisons = sweep.comparisons();
  ASSERT_THAT(comparisons, SizeIs(2));
  EXPECT_EQ(comparisons[0].reference, "nll_ablate");
  EXPECT_EQ(comparisons[1].reference, "nll_ablate ← niah length=1024");
  ASSERT_THAT(comparisons[1].claims, SizeIs(1));
  EXPECT_EQ(comparisons[1].claims[0].label, "a ← niah length=1024");
  EXPECT_NEAR(comparisons[1].claims[0].mean(), 0.01, kTolerance);
}

TEST(ReferenceClaims, NumbersThatNoModelGivesAreNotCompared) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  sweep.add({.label = "nll_ablate"}, kReference);
  sweep.add({.label = "a"}, {0.1, 0.2, 1e308, -1e308, 0.2});
  sweep.add({.label = "b"}, Numbers(5, 1e308));
  const auto comparisons = sweep.comparisons();
  ASSERT_THAT(comparisons, SizeIs(1));
  ASSERT_THAT(comparisons[0].claims, SizeIs(1));
  EXPECT_THAT(comparisons[0].claims[0].differences, SizeIs(3));
}

TEST(ReferenceClaims, FewClustersSupportNoAnswer) {
  const TemporaryFolder folder;
  Sweep sweep(folder, 19);
  sweep.add({.label = "nll_ablate"}, kReference);
  sweep.add({.label = "a"}, kReference);
  const LeaderboardTable table = sweep.board().table();
  const ReferenceComparison& comparison = table.blocks.at(0).comparisons.at(0);
  EXPECT_EQ(comparison.family, 0U);
  EXPECT_FALSE(comparison.claims.at(0).non_inferiority);
  EXPECT_NEAR(comparison.claims.at(0).mean(), 0, kTolerance);
  EXPECT_THAT(render(table, {}),
              HasSubstr("inference is not supported here: 19 clusters, 20 are needed\n"));
}

TEST(ReferenceClaims, ReportsShowTheTableAgainstTheReferenceInEveryFormat) {
  const TemporaryFolder folder;
  Sweep sweep(folder);
  sweep.add({.label = "nll_ablate", .diagnostics_json = R"({"flops_without_reuse": 6e12})"},
            kReference);
  sweep.add({.label = "a"}, plus(kReference, {0.004, 0.006, 0.010, 0.0, 0.005}), true);
  const LeaderboardTable table = sweep.board().table();
  const std::string heading =
      "against nll_ablate · the only one of nll_restore and nll_ablate here · its own selection: "
      "25.0 % of toggling without reuse · Holm over a family of 1\n";
  const std::string columns =
      R"(selector  seeds (same plan)     ΔNLL      SD    upper  non-inferior       p  Holm p  equivalence (n)  flip p  FLOPs %
)";
  EXPECT_THAT(render(table, {}), HasSubstr(heading + columns));
  EXPECT_THAT(render_claims(table, {}), HasSubstr(heading + "\n" + columns));
  EXPECT_THAT(render(table, {.format = ReportFormat::kMarkdown}),
              HasSubstr("- " + heading + "\n| selector | seeds (same plan) |"));
  EXPECT_THAT(
      render_claims(table, {.format = ReportFormat::kMarkdown}),
      HasSubstr(
          "| a | 5 (0) | +0.0050 | 0.0036 | +0.0084 | yes | <0.001 | <0.001 | equivalent (2) |"));
  const std::string csv = render_claims(table, {.format = ReportFormat::kCsv});
  EXPECT_THAT(csv, StartsWith("model,model_id,benchmark,split,data_id,"));
  EXPECT_THAT(csv, HasSubstr(",reference,reference_chosen,selector,seeds,same_plan_seeds,"
                             "nll_difference,between_seed_sd,upper,non_inferior,p,family,holm_p,"
                             "equivalence,equivalence_seeds_needed,sign_flip_p,flops_share,"
                             "gap_closed,gap_closed_low,gap_closed_high,"
                             "gap_closed_between_seed_sd\n"));
  EXPECT_THAT(csv,
              HasSubstr(",nll_ablate,the only one of nll_restore and nll_ablate here,a,5,0,0.00"));
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 2);
  const std::string ascii = render_claims(table, {.utf8 = false});
  EXPECT_THAT(ascii, Not(HasSubstr("?")));
  // A board without seeds says what is missing.
  const TemporaryFolder other;
  EXPECT_THAT(render_claims(Small(other).table(), {}),
              StartsWith("no selector ran on two calibration sets"));
}

}  // namespace
}  // namespace strata::test
