// Snapshots of the reports as they are printed, and the bounds that hold for any table.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/check.h"
#include "leaderboard_fixture.h"
#include "results/reports/format.h"
#include "results/reports/run_list.h"
#include "results/reports/run_report.h"
#include "results/reports/text_table.h"

namespace strata::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::size_t widest(const std::string& text) {
  std::size_t width = 0;
  for (const std::string& line : lines_of(text)) width = std::max(width, display_width(line));
  return width;
}

constexpr const char* kText =
    R"text(toy (9372c470) · niah · 4 samples, 4 clusters · prompts of 100–103 tokens
window 16 · sinks 2 · decode rule same · budget 1 of 8 layers · cpu, 1 thread, float32 (Toy CPU)
benchmark: length=512 task=single
needle beyond the window: 4 of 4 samples
! 4 clusters: fewer than 20 do not support inference; read the intervals as spread only
! random: 3 draws, a distribution needs 20

#  strategy                     layers             gap closed %       gen_contains %                   NLL  > random
--------------------------------------------------------------------------------------------------------------------
1  nll_guided[restore]          ·█······      80.0 [71.8, 87.8]    75.0 [30.1, 95.4]  0.500 [0.240, 0.760]       3/3
2  periodic-best = periodic[0]  █·······      50.0 [47.4, 52.4]     25.0 [4.6, 69.9]  1.100 [1.100, 1.100]       3/3
--------------------------------------------------------------------------------------------------------------------
–  random (3 draws)             (3 masks)    10.0 [-10.0, 20.0]       0.0 [0.0, 0.0]  1.900 [1.700, 2.300]         –
–  periodic (2 offsets)         (2 masks)     55.0 [50.0, 60.0]    37.5 [25.0, 50.0]  1.000 [0.900, 1.100]         –
–  inverted                     ·······█   -20.0 [-26.3, -14.3]      0.0 [0.0, 49.0]  2.500 [2.500, 2.500]       0/3
--------------------------------------------------------------------------------------------------------------------
–  full                         ████████   100.0 [100.0, 100.0]  100.0 [51.0, 100.0]  0.100 [0.100, 0.100]       3/3
–  none                         ········         0.0 [0.0, 0.0]      0.0 [0.0, 49.0]  2.100 [1.916, 2.284]       1/3

#  strategy                       ΔNLL to periodic-best           tf_exact %  gen_exact %             beyond %  ΔNLL of text to full
------------------------------------------------------------------------------------------------------------------------------------
1  nll_guided[restore]          -0.600 [-0.860, -0.340]    50.0 [15.0, 85.0]            –    75.0 [30.1, 95.4]                     –
2  periodic-best = periodic[0]                        –      0.0 [0.0, 49.0]            –     25.0 [4.6, 69.9]                     –
------------------------------------------------------------------------------------------------------------------------------------
–  random (3 draws)             +0.800 [+0.600, +1.200]       0.0 [0.0, 0.0]            –       0.0 [0.0, 0.0]                     –
–  periodic (2 offsets)                               –       0.0 [0.0, 0.0]            –    37.5 [25.0, 50.0]                     –
–  inverted                     +1.400 [+1.400, +1.400]      0.0 [0.0, 49.0]            –      0.0 [0.0, 49.0]                     –
------------------------------------------------------------------------------------------------------------------------------------
–  full                         -1.000 [-1.000, -1.000]  100.0 [51.0, 100.0]            –  100.0 [51.0, 100.0]                     –
–  none                         +1.000 [+0.816, +1.184]      0.0 [0.0, 49.0]            –      0.0 [0.0, 49.0]                     –

#  strategy                      KV %      KV a sample  FLOPs %  GFLOP  prefill ms (n)  decode ms    memory
-----------------------------------------------------------------------------------------------------------
1  nll_guided[restore]           12.5  1.7 KiB (−56 %)     70.0   0.71        12.5 (4)          –  50.8 KiB
2  periodic-best = periodic[0]   12.5  1.7 KiB (−56 %)     70.0   0.71        12.5 (4)          –  50.8 KiB
-----------------------------------------------------------------------------------------------------------
–  random (3 draws)              12.5  1.7 KiB (−56 %)     70.0   0.71       12.5 (12)          –  50.8 KiB
–  periodic (2 offsets)          12.5  1.7 KiB (−56 %)     70.0   0.71        12.5 (8)          –  50.8 KiB
–  inverted                      12.5  1.7 KiB (−56 %)     70.0   0.71        12.5 (4)          –  50.8 KiB
-----------------------------------------------------------------------------------------------------------
–  full                         100.0      3.9 KiB (0)    100.0   1.01        12.5 (4)          –  50.8 KiB
–  none                           0.0   1000 B (−75 %)     60.0   0.61        12.5 (4)          –  50.8 KiB

#  strategy                     evals  tokens  TFLOP     s     peak  given
----------------------------------------------------------------------------
1  nll_guided[restore]             40      8k    1.5  3.25  1.0 MiB  answers
2  periodic-best = periodic[0]      0       0      0     0        –  none
----------------------------------------------------------------------------
–  random (3 draws)                 0       0      0     0        –  none
–  periodic (2 offsets)             0       0      0     0        –  none
–  inverted                         0       0      0     0        –  none
----------------------------------------------------------------------------
–  full                             0       0      0     0        –  none
–  none                             0       0      0     0        –  none
oracle: the best periodic offset on test is periodic[1], NLL 0.900 (chosen on the test samples, so not ranked)
1 seed: nll_guided[restore] (says nothing of the selector: 5 calibration seeds are needed)

)text";

TEST(Render, TextShowsFourTablesABlock) {
  const TemporaryFolder folder;
  EXPECT_THAT(render(Small(folder).table(), {}), StartsWith(kText));
}

TEST(Render, AsciiHasNoOtherSignsAndTheSameShape) {
  const TemporaryFolder folder;
  const LeaderboardTable table = Small(folder).table();
  const std::string text = render(table, {});
  const std::string ascii = render(table, {.utf8 = false});
  EXPECT_TRUE(std::all_of(ascii.begin(), ascii.end(),
                          [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  EXPECT_THAT(ascii, HasSubstr("1  nll_guided[restore]          .#......      80.0 [71.8, 87.8]"));
  EXPECT_THAT(ascii, Not(HasSubstr("?")));
  EXPECT_EQ(lines_of(ascii).size(), lines_of(text).size());
}

TEST(Render, MarkdownHasOneTableWithAllColumns) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      render(Small(folder).table(), {.format = ReportFormat::kMarkdown}),
      HasSubstr(
          R"md(| # | strategy | layers | gap closed % | gen_contains % | NLL | > random | ΔNLL to periodic-best | tf_exact % | gen_exact % | beyond % | ΔNLL of text to full | KV % | KV a sample | FLOPs % | GFLOP | prefill ms (n) | decode ms | memory | evals | tokens | TFLOP | s | peak | given |
|---:|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|
| 1 | nll_guided[restore] | ·█······ | 80.0 [71.8, 87.8] | 75.0 [30.1, 95.4] | 0.500 [0.240, 0.760] | 3/3 | -0.600 [-0.860, -0.340] | 50.0 [15.0, 85.0] | – | 75.0 [30.1, 95.4] | – | 12.5 | 1.7 KiB (−56 %) | 70.0 | 0.71 | 12.5 (4) | – | 50.8 KiB | 40 | 8k | 1.5 | 3.25 | 1.0 MiB | answers |
| 2 | periodic-best = periodic[0] | █······· | 50.0 [47.4, 52.4] | 25.0 [4.6, 69.9] | 1.100 [1.100, 1.100] | 3/3 | – | 0.0 [0.0, 49.0] | – | 25.0 [4.6, 69.9] | – | 12.5 | 1.7 KiB (−56 %) | 70.0 | 0.71 | 12.5 (4) | – | 50.8 KiB | 0 | 0 | 0 | 0 | – | none |
)md"));
}

TEST(Render, CsvHasALineARowWithAllFiguresUnrounded) {
  const TemporaryFolder folder;
  const auto lines = lines_of(render(Small(folder).table(), {.format = ReportFormat::kCsv}));
  ASSERT_EQ(lines.size(), 8U);
  EXPECT_EQ(
      lines[0],
      R"csv(model,model_id,benchmark,split,data_id,samples,clusters,beyond_window_samples,window,sinks,linear,decode_rule,granularity,budget_units,units,matched_on,devices,by,kind,rank,rank_last,strategy,draws,gap_closed,gap_closed_low,gap_closed_high,gen_contains,gen_contains_low,gen_contains_high,gen_exact,gen_exact_low,gen_exact_high,tf_exact,tf_exact_low,tf_exact_high,gen_contains_beyond,gen_contains_beyond_low,gen_contains_beyond_high,answer_nll,answer_nll_low,answer_nll_high,nll_minus_full,nll_minus_full_low,nll_minus_full_high,nll_minus_periodic_best,nll_minus_periodic_best_low,nll_minus_periodic_best_high,text_nll_minus_full,text_nll_minus_full_low,text_nll_minus_full_high,beats_random,random_draws,kv_share,prefill_flops_share,kv_bytes,kv_saved,prefill_flops,decode_flops,prefill_ms,decode_ms,peak_bytes,measured_on,timed_samples,selection_evaluations,selection_forward_tokens,selection_backward_tokens,selection_flops,selection_seconds,selection_peak_bytes,supervision,layers,marks,run_ids)csv");
  EXPECT_EQ(
      lines[1],
      R"csv(toy,9372c470eeadd5ecd9c3c74c2b3cb633f8e2f2fad799250a0f70d652b6b825e4,niah,test,4d09e507e1a34ecaeca28377e6eeea551c2260ac0133c43925f777608d6c5a54,4,4,4,16,2,,same,layer,1,8,,"cpu, 1 thread, float32 (Toy CPU)",,ranked,1,,nll_guided[restore],1,0.8,0.717948717948718,0.8780487804878049,0.75,0.30064184258240184,0.9544127391902995,,,,0.5,0.15003898915214947,0.8499610108478506,0.75,0.30064184258240184,0.9544127391902995,0.5,0.2401543472749778,0.7598456527250221,0.4,0.14015434727497783,0.6598456527250223,-0.6000000000000001,-0.8598456527250222,-0.34015434727497795,,,,3,3,0.125,0.7,1750,0.5625,700000000,10000000,12.5,,52000,"cpu, 1 thread, float32 (Toy CPU)",4,40,8000,0,1500000000000,3.25,1048576,answers,.#......,"4 clusters: fewer than 20 do not support inference; read the intervals as spread only; random: 3 draws, a distribution needs 20",33d63915a27b7e92c29a36d607e1353d8285511809a261df135e7558d8d2cf97)csv");
}

TEST(Render, ManyLayersAndLongNamesStayWithinTheWidth) {
  const TemporaryFolder folder;
  LeaderboardTable table = Small(folder).table();
  LeaderboardRow& row = table.blocks[0].rows[0];
  row.name = "a_selector_with_a_name_that_nobody_should_have_given[and=keys,too]";
  row.strip->kept_share.assign(200, 0.0);
  row.strip->kept_share[199] = 1;
  table.blocks[0].devices.assign(
      9, "cuda:NVIDIA H100 80GB HBM3, 8 threads, bfloat16 (some processor)");
  for (const bool utf8 : {true, false}) {
    const std::string text = render(table, {.utf8 = utf8});
    EXPECT_LE(widest(text), 160U);
    EXPECT_THAT(text, HasSubstr("layers:\n  a_selector_with"));
  }
  EXPECT_THAT(render(table, {.format = ReportFormat::kMarkdown}), HasSubstr(row.name));
}

TEST(Render, AStripShowsHowManyHeadsALayerKeeps) {
  EXPECT_EQ(strip_text({.kept_share = {0, 1, 1.0 / 3, 2.0 / 3}, .units_per_layer = 3}), "·█12");
  EXPECT_EQ(strip_text({.kept_share = {0, 1, 1.0 / 32, 0.5, 31.0 / 32}, .units_per_layer = 32}),
            "·█159");
}

TEST(Render, CsvQuotesWhatNeedsIt) {
  EXPECT_EQ(csv_line({"a", "b,c", "d\"e", "f\ng", ""}), "a,\"b,c\",\"d\"\"e\",\"f\ng\",\n");
}

TEST(Render, NumbersNeverShowMinusZero) {
  EXPECT_EQ(with_interval(Estimate{-0.00001, Interval{-0.2, 0.00001}}, 1, 3, true).text,
            "+0.000 [-0.200, +0.000]");
  EXPECT_EQ(with_interval(std::nullopt, 1, 3).text, "–");
  EXPECT_EQ(count(999), "999");
  EXPECT_EQ(count(1234567), "1.23M");
  EXPECT_EQ(bytes(14.25 * 1024 * 1024), "14.2 MiB");
}

constexpr const char* kRunReport =
    R"text(run 33d63915a27b7e92c29a36d607e1353d8285511809a261df135e7558d8d2cf97
nll_guided[restore] · done · started 2025-01-31T12:00:07.000000Z · finished 2025-01-31T12:00:07.000000Z
strategy nll_guided · granularity layer · budget 1 unit · decode rule same · window 16 · sinks 2
benchmark niah: length=512 task=single
seeds: calibration=7
config 1a039dbf: strategy=nll_guided
selection 52d01618 by nll_guided: mode=restore
given: answers · calibration e152337e
cost: 40 evaluations · 8k forward, 0 backward tokens · 20k layer tokens · 1.5 TFLOP · 3.25 s · peak 1.0 MiB
diagnostics: stable=true
model toy (9372c470) · plan 45af209e · KV share 12.5 %
layers: ·█······
4 of 4 samples answered
on cpu, 1 thread, float32 (Toy CPU)

layer  unit  kept    score  standard error
------------------------------------------
    0     0  ·      0.1250          0.1000
    1     0  █      2.5000          0.2000
    2     0  ·     -0.2500          0.3000
    3     0  ·           –               –
    4     0  ·      0.0000          0.1000
    5     0  ·      0.0000          0.1000
    6     0  ·      0.0000          0.1000
    7     0  ·      1.5000          0.4000

metric                           mean  samples  clusters
--------------------------------------------------------
gen_contains  0.7500 [0.3006, 0.9544]        4         4
tf_exact      0.5000 [0.1500, 0.8500]        4         4

answer position                      NLL  samples  clusters
-----------------------------------------------------------
              0  0.4000 [0.1402, 0.6598]        4         4
              1  0.6000 [0.3402, 0.8598]        4         4

[low, high]: 95 % interval of a mean. Where samples share a cluster (a document, a conversation) they are not independent: bootstrap over clusters, or Wilson's
  over them where all are right or all are wrong; else Wilson's of what is right or wrong, and Student's t of other values.
)text";

TEST(RunReport, ShowsScoresWithErrorsCostAndNllAtEachPosition) {
  const TemporaryFolder folder;
  Small small(folder);
  std::string id;
  for (const RunRow& run : must(small.store().runs()))
    if (run.label == "nll_guided[restore]") id = run.id;
  const std::string report = must(run_report(small.store(), id.substr(0, 12), {}));
  EXPECT_EQ(report, kRunReport);
  EXPECT_LE(widest(report), 160U);
  EXPECT_EQ(must(run_report(small.store(), id, {.format = ReportFormat::kCsv})),
            "layer,unit,kept,score,standard_error\n0,0,0,0.125,0.1\n1,0,1,2.5,0.2\n"
            "2,0,0,-0.25,0.3\n3,0,0,,\n4,0,0,0,0.1\n5,0,0,0,0.1\n6,0,0,0,0.1\n7,0,0,1.5,0.4\n");
}

TEST(RunReport, IntervalsAreOverTheClustersOfTheDataSet) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 6, {"x", "x", "x", "y", "y", "y"});
  board.add({.label = "a",
             .layers = {1},
             .nll = {0.4, 0.4, 0.4, 1.4, 1.4, 1.4},
             .contains = {1, 1, 1, 0, 0, 0},
             .exact = {1, 1, 1, 1, 1, 1}});
  const std::string report =
      must(run_report(board.store(), must(board.store().runs()).at(0).id, {}));
  // Two clusters that differ: their resamples reach both ends, whatever the six samples suggest.
  EXPECT_THAT(report, HasSubstr("\ngen_contains  0.5000 [0.0000, 1.0000]        6         2\n"));
  // All are right: Wilson's over two.
  EXPECT_THAT(report, HasSubstr("\ntf_exact      1.0000 [0.3424, 1.0000]        6         2\n"));
  EXPECT_THAT(report, HasSubstr("0.8000 [0.3000, 1.3000]        6         2\n"));
}

TEST(RunReport, FullAttentionHasNoWindow) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  board.add({.label = "full", .layers = {0}, .nll = {1, 1, 1, 1}, .budget = 0});
  EXPECT_THAT(must(run_report(board.store(), must(board.store().runs()).at(0).id, {})),
              HasSubstr(" · decode rule same\n"));
}

TEST(RunReport, AHostileErrorIsALineInEveryFormat) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  world.run.status = RunStatus::kFailed;
  world.run.error = "a\n<img src=x>\x1b[2J|";
  must(world.store.update(world.run));
  const auto report = [&](ReportFormat format) {
    return must(run_report(world.store, world.run.id, {.format = format}));
  };
  EXPECT_THAT(report(ReportFormat::kText), HasSubstr("\nerror: a <img src=x> [2J|\n"));
  EXPECT_THAT(report(ReportFormat::kMarkdown), HasSubstr("\n- error: a \\<img src=x> [2J\\|\n"));
  EXPECT_THAT(report(ReportFormat::kLatex), HasSubstr("\n% error: a <img src=x> [2J|\n"));
}

TEST(RunReport, SignsOfABugComeBeforeWhatWasChecked) {
  const TemporaryFolder folder;
  Board board(folder.file("a.db"), 4);
  nlohmann::json diagnostics = {{"measure", "x"}, {"checks_cost", {{"evaluations", 3}}}};
  note(diagnostics, {"gates", "not all equal", "all 1", Check::Outcome::kSign});
  note(diagnostics, {"scores", "not all equal", "0 to 2", Check::Outcome::kClear});
  note(diagnostics, {"slope", "within 1 %", "too flat", Check::Outcome::kNotJudged});
  board.add({.label = "a",
             .group = {},
             .layers = {0},
             .nll = {1, 1, 1, 1},
             .with_selection = true,
             .diagnostics_json = diagnostics.dump()});
  const std::string report =
      must(run_report(board.store(), must(board.store().runs()).at(0).id, {}));
  EXPECT_THAT(report, HasSubstr("! sign of a bug: gates: expected not all equal, found all 1\n"
                                "checked: gates (sign): all 1\n"
                                "checked: scores (clear): 0 to 2\n"
                                "checked: slope (not judged): too flat\n"
                                "the checks cost apart: evaluations=3\n"
                                "diagnostics: measure=x\n"));
}

TEST(RunReport, ShowsTheErrorOfAFailedRun) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"));
  world.run.status = RunStatus::kFailed;
  world.run.error = "layer 17: the weights are not finite";
  must(world.store.update(world.run));
  EXPECT_THAT(must(run_report(world.store, world.run.id, {})),
              HasSubstr("failed · started 2025-01-31T12:00:00.000000Z\nerror: layer 17: the "
                        "weights are not finite\n"));
}

TEST(RunReport, SaysWhichRunIsMissing) {
  const TemporaryFolder folder;
  const World world = make_world(folder.file("a.db"));
  EXPECT_EQ(run_report(world.store, "zz", {}).error().text(),
            folder.file("a.db") + ": no run begins with 'zz'\n  hint: 'strata report runs db=" +
                folder.file("a.db") + "' lists them");
}

TEST(RunList, NamesEachRunAndWhatTellsItApart) {
  const TemporaryFolder folder;
  World world = make_world(folder.file("a.db"), 3);
  world.run.experiment_id = world.experiment.id;
  world.run.status = RunStatus::kDone;
  must(world.store.update(world.run));
  RunRow later = run_row("full", 61);
  later.benchmark_config_json = R"({"length":512,"task":"multi"})";
  later.budget_units.reset();
  later.id = must(world.store.record(later));
  const std::string listed =
      render(must(run_list(world.store, {})), {.format = ReportFormat::kCsv});
  EXPECT_EQ(listed,
            fmt::format("table,run,label,status,benchmark,budget,window,started (UTC),answered\n"
                        "runs,{},nll_guided[restore],done,niah length=512 task=single,1,16,"
                        "2025-01-31 12:00:00,3/3\n"
                        "runs,{},full,running,niah length=512 task=multi,,16,"
                        "2025-01-31 12:01:01,\n",
                        world.run.id.substr(0, 12), later.id.substr(0, 12)));
  LeaderboardRequest filters;
  filters.budget_units = 1;
  filters.model = "toy";
  EXPECT_EQ(must(run_list(world.store, filters)).sections[0].table.rows.size(), 1U);
  filters.model = "other";
  EXPECT_EQ(run_list(world.store, filters).error().text(),
            folder.file("a.db") + ": no run matches");
}

}  // namespace
}  // namespace strata::test
