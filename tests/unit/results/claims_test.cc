// What blocks say of selectors over calibration seeds, and of those calibrated elsewhere.
#include <algorithm>
#include <sstream>

#include "leaderboard_fixture.h"
#include "results/reports/run_report.h"
#include "results/reports/text_table.h"

namespace strata::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

using Numbers = std::vector<double>;

constexpr double kTolerance = 1e-9;

TEST(Claims, AClaimAboutASelectorIsTheTIntervalOverItsCalibrationSeeds) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();  // the gap is 2 nat
  const std::vector<double> nll = {0.5, 0.7, 0.7, 1.1, 0.9};
  for (int seed = 0; seed < 5; ++seed)
    board.add({.label = "nll_guided",
               .layers = {seed},
               .nll = std::vector<double>(4, nll[static_cast<std::size_t>(seed)]),
               .with_selection = true,
               .calibration = fmt::format("seed {}", seed)});
  board.add({.label = "other", .layers = {6}, .nll = {1, 1, 1, 1}, .with_selection = true});
  board.add({.label = "unsupervised", .layers = {7}, .nll = {1, 1, 1, 1}});
  const LeaderboardTable table = board.table();
  const LeaderboardBlock& block = table.blocks.at(0);
  ASSERT_EQ(block.claims.size(), 2U);
  EXPECT_EQ(block.claims[0].label, "nll_guided");
  const SeedEstimate& gap = block.claims[0].gap_closed;
  std::vector<double> per_seed = nll;
  for (double& value : per_seed) value = (2.1 - value) / 2;
  for (std::size_t s = 0; s < 5; ++s) EXPECT_NEAR(gap.seed_means[s], per_seed[s], kTolerance);
  EXPECT_EQ(gap.method, SeedMethod::kT);
  EXPECT_NEAR(gap.interval()->low, t_estimate(per_seed).interval->low, kTolerance);
  EXPECT_NEAR(gap.interval()->high, t_estimate(per_seed).interval->high, kTolerance);
  EXPECT_THAT(block.notes, ElementsAre("1 seed: other (says nothing of the selector: 5 "
                                       "calibration seeds are needed)"));
  // Per-seed gaps 80, 70, 70, 50, 60: mean 66, SD 11.4, t interval 66 ± 2.776 · 11.4 / √5.
  EXPECT_THAT(
      render(table, {}),
      HasSubstr("nll_guided      5  66.0 [51.8, 80.2]           11.4  t over per-seed means\n"));
}

TEST(Claims, TheirReportHasTheGapInEveryFormatAndNoFooterOfWhatIsNotThere) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const std::string label(50, 'a');
  for (int seed = 0; seed < 2; ++seed)
    board.add({.label = label,
               .layers = {seed},
               .nll = Numbers(4, seed == 0 ? 0.5 : 0.7),
               .with_selection = true,
               .calibration = fmt::format("seed {}", seed)});
  const LeaderboardTable table = board.table();
  for (const bool utf8 : {true, false}) {
    const std::string text = render_claims(table, {.utf8 = utf8});
    EXPECT_THAT(text, HasSubstr("\n" + label + "      2  75.0"));
    EXPECT_THAT(text, Not(HasSubstr("Against a reference")));
  }
  const std::string csv = render_claims(table, {.format = ReportFormat::kCsv});
  std::vector<std::string> lines;
  std::istringstream in(csv);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_THAT(lines[1], HasSubstr(",,,," + label + ",2,,,,,,,,,,,,,0.75"));
  EXPECT_EQ(std::count(lines[0].begin(), lines[0].end(), ','),
            std::count(lines[1].begin(), lines[1].end(), ','));
}

TEST(Claims, SeedsThatSelectTheSamePlanCountEach) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  for (const char* calibration : {"one", "two", "two"})
    board.add({.label = "a",
               .layers = {1},
               .nll = {1, 1, 1, 1},
               .with_selection = true,
               .calibration = calibration});
  const LeaderboardBlock block = board.only_block();
  ASSERT_EQ(block.claims.size(), 1U);
  EXPECT_EQ(block.claims[0].gap_closed.seed_means.size(), 2U);
}

TEST(Claims, LayersAndHeadsThatComeOutAsOnePlanAreBothShown) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  for (const Granularity granularity : {Granularity::kLayer, Granularity::kKvHead})
    board.add({.label = "a", .layers = {1}, .nll = {1, 1, 1, 1}, .granularity = granularity});
  const LeaderboardTable table = board.table();
  ASSERT_EQ(table.blocks.size(), 2U);
  for (const LeaderboardBlock& block : table.blocks)
    EXPECT_EQ(std::count_if(block.rows.begin(), block.rows.end(),
                            [](const LeaderboardRow& row) { return row.name == "a"; }),
              1);
}

TEST(Claims, OtherSettingsOfASelectorAreNotItsSeeds) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const auto add = [&](int layer, const char* calibration, const char* config) {
    board.add({.label = "a",
               .layers = {layer},
               .nll = {1, 1, 1, 1},
               .with_selection = true,
               .calibration = calibration,
               .config_json = config});
  };
  add(1, "one", R"({"calibration": {"samples": 8, "seed": 1}, "seed": 0})");
  add(2, "two", R"({"calibration": {"samples": 8, "seed": 2, "benchmark": null}, "seed": 1})");
  add(3, "three", R"({"calibration": {"samples": 64, "seed": 1}, "seed": 0})");
  add(4, "two", R"({"calibration": {"samples": 8, "seed": 2}, "seed": 0})");  // two again
  const LeaderboardBlock block = board.only_block();
  ASSERT_EQ(block.claims.size(), 2U);
  EXPECT_THAT(block.claims[0].label, StartsWith("a #"));
  EXPECT_NE(block.claims[0].label, block.claims[1].label);
  EXPECT_EQ(block.claims[0].gap_closed.seed_means.size(), 2U);
  EXPECT_EQ(block.claims[1].gap_closed.seed_means.size(), 1U);
}

// ---- transfer

const std::string kLong = R"({"length":4096,"name":"niah","samples":4,"task":"single"})";

std::string calibrated_on(const std::string& benchmark) {
  return fmt::format(R"({{"calibration": {{"benchmark": {}, "samples": 8}}}})", benchmark);
}

const std::string kOnShort =
    calibrated_on(R"({"length":1024,"name":"niah","task":"single","words":"bundled"})");

std::vector<std::string> names_of(const LeaderboardBlock& block) {
  std::vector<std::string> names;
  for (const LeaderboardRow& row : block.rows) names.push_back(row.name);
  return names;
}

TEST(Claims, WhatWasCalibratedOnAnotherSettingIsTransferAndStaysApart) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add_references();
  const auto add = [&](int layer, const std::string& calibration, const std::string& config,
                       const std::string& label = "nll_ablate") {
    board.add({.label = label,
               .layers = {layer},
               .nll = Numbers(4, 1 + 0.01 * layer),
               .with_selection = true,
               .calibration = calibration,
               .config_json = config,
               .benchmark_json = kLong});
  };
  add(0, "long 1", calibrated_on("null"));
  add(1, "long 2", calibrated_on(R"({"length":4096,"name":"niah","task":"single"})"));  // the same
  add(2, "short 1", kOnShort);
  add(3, "short 2", kOnShort);
  add(2, "other", calibrated_on(R"({"length":512,"name":"multi_passkey","words":5})"), "gate_path");
  const LeaderboardTable table = board.table();
  const LeaderboardBlock& block = table.blocks.at(0);
  EXPECT_THAT(names_of(block),
              ElementsAre(StartsWith("nll_ablate #"), StartsWith("nll_ablate #"),
                          StartsWith("nll_ablate ← niah length=1024 #"),
                          "gate_path ← multi_passkey length=512",
                          StartsWith("nll_ablate ← niah length=1024 #"), "full", "none"));
  std::vector<std::string> claims;
  for (const SelectorClaim& claim : block.claims) {
    claims.push_back(claim.label);
    if (claim.label.starts_with("nll")) {
      EXPECT_THAT(claim.gap_closed.seed_means, SizeIs(2));
    }
  }
  EXPECT_THAT(claims, UnorderedElementsAre("nll_ablate", "nll_ablate ← niah length=1024",
                                           "gate_path ← multi_passkey length=512"));
  EXPECT_THAT(block.notes, Contains(StartsWith("←: transfer, calibrated on another setting")));
  EXPECT_THAT(render(table, {.format = ReportFormat::kCsv}),
              HasSubstr("gate_path <- multi_passkey length=512"));
  for (const bool utf8 : {true, false}) {
    std::istringstream text(render(table, {.utf8 = utf8}));
    for (std::string line; std::getline(text, line);) EXPECT_LE(display_width(line), 160U) << line;
  }
}

TEST(Claims, ARunThatLookedAtNothingIsNoTransfer) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "full",
             .layers = {0, 1, 2, 3, 4, 5, 6, 7},
             .nll = {0, 0, 0, 0},
             .budget = 0,
             .config_json = kOnShort,
             .benchmark_json = kLong});
  board.add({.label = "random[0]",
             .group = "random",
             .layers = {2},
             .nll = {1, 1, 1, 1},
             .config_json = kOnShort,
             .benchmark_json = kLong});
  const LeaderboardBlock block = board.only_block();
  EXPECT_THAT(names_of(block), ElementsAre("random[0]", "full"));
  EXPECT_THAT(block.notes, IsEmpty());
}

TEST(Claims, PeriodicBestIsChosenOnTheSettingsOwnCalibrationWhereThereIsOne) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  const auto add = [&](int offset, double calibration_nll, const std::string& config) {
    board.add({.label = fmt::format("periodic[{}]", offset),
               .group = "periodic",
               .layers = {offset},
               .nll = Numbers(4, 1.0 + offset),
               .calibration_nll = calibration_nll,
               .config_json = config,
               .benchmark_json = kLong});
  };
  add(0, 0.3, kOnShort);
  add(1, 0.2, kOnShort);
  EXPECT_THAT(
      names_of(board.only_block()),
      ElementsAre("periodic-best = periodic[1] ← niah length=1024", "periodic (2 offsets)"));
  add(0, 0.8, calibrated_on("null"));
  add(1, 0.9, calibrated_on("null"));
  EXPECT_THAT(names_of(board.only_block()),
              ElementsAre("periodic-best = periodic[0]", "periodic (2 offsets)"));
}

TEST(Claims, ARunsReportSaysThatItIsTransfer) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "a",
             .layers = {0},
             .nll = {1, 1, 1, 1},
             .with_selection = true,
             .config_json = kOnShort,
             .benchmark_json = kLong});
  const std::string run = board.only_block().rows[0].run_ids[0];
  EXPECT_THAT(must(run_report(board.store(), run, {})),
              HasSubstr("\ntransfer: calibrated on niah length=1024\n"));
}

}  // namespace
}  // namespace strata::test
