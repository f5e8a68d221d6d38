// The programs as a person meets them: start-up, help, and what is said about wrong input. Runs
// build/strata.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/behaviour/program.h"

namespace strata {
namespace {

using testing::binary_dir;
using testing::Outcome;
using testing::run_command;

std::string source_dir() {
  const char* dir = std::getenv("STRATA_SOURCE_DIR");
  return dir != nullptr ? dir : ".";
}

Outcome strata(const std::string& arguments) {
  return run_command("cd " + source_dir() + " && " + binary_dir() + "/strata " + arguments);
}

TEST(ProgramsTest, StrataLinksNoLibTorch) {
  const Outcome needed = run_command("readelf -d " + binary_dir() + "/strata");
  ASSERT_EQ(needed.code, 0);
  EXPECT_NE(needed.text.find("libc.so"), std::string::npos);
  for (const char* library : {"libtorch", "libc10", "libcuda", "libgomp"})
    EXPECT_EQ(needed.text.find(library), std::string::npos) << needed.text;
}

TEST(ProgramsTest, HelpComesWithin50Milliseconds) {
  std::vector<double> milliseconds;
  for (int i = 0; i < 7; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const Outcome help = run_command(binary_dir() + "/strata --help");
    milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.text.find("report"), std::string::npos);
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  std::printf("strata --help: median %.1f ms of 7\n", milliseconds[3]);
#if !defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(milliseconds[3], 50.0);
#endif
}

TEST(ProgramsTest, RunHelpListsEveryKeyFromItsStruct) {
  const Outcome help = strata("run --help");
  EXPECT_EQ(help.code, 0);
  for (const char* key : {"decode_rule=same", "mixer.window=128", "budget.fraction=0.25",
                          "strategy.mode=restore", "benchmark.length=1024", "strategy=periodic"})
    EXPECT_NE(help.text.find(key), std::string::npos) << key;
}

TEST(ProgramsTest, AFullDiskIsAnErrorOfEveryCommandThatPrints) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  for (const std::string command :
       {"--version", "run --help", "run --cfg job", "run --info defaults-tree", "report paper",
        "report paper --format html", "score --cfg job"}) {
    const Outcome outcome = run_command("cd " + source_dir() + " && (" + binary_dir() + "/strata " +
                                        command + " > /dev/full)");
    EXPECT_EQ(outcome.code, 1) << command;
    EXPECT_EQ(outcome.text, "error: writing to standard output failed: No space left on device\n")
        << command;
  }
  for (const std::string program : {"strata-engine", "strata-judge"})
    EXPECT_EQ(run_command("cd " + source_dir() + " && (" + binary_dir() + "/" + program +
                          " --help > /dev/full)")
                  .code,
              1)
        << program;
}

struct WrongInput {
  const char* name;
  const char* arguments;
  std::vector<const char*> says;
};

class WrongInputTest : public ::testing::TestWithParam<WrongInput> {};

TEST_P(WrongInputTest, IsOneClearErrorWithoutAStackTrace) {
  const std::filesystem::path dir =
      std::filesystem::path(::testing::TempDir()) / "strata_wrong_input";
  std::filesystem::create_directories(dir);
  std::ofstream(dir / "text.db") << "this is no database, but somebody's notes";
  std::ofstream(dir / "bad.jsonl") << "{\"id\": \"a\", \"prompt\": \"x\", \"answer\": "
                                      "\"y\"}\n{\"id\": \"b\", \"prompt\": 3, \"answer\": \"y\"}\n";
  std::filesystem::create_directories(dir / "empty_model");
  std::string arguments = GetParam().arguments;
  for (std::size_t at; (at = arguments.find("@DIR@")) != std::string::npos;)
    arguments.replace(at, 5, dir.string());
  const Outcome outcome = strata(arguments);
  EXPECT_NE(outcome.code, 0);
  EXPECT_LT(outcome.code, 128) << "ended by a signal";
  for (const char* words : GetParam().says)
    EXPECT_NE(outcome.text.find(words), std::string::npos) << outcome.text;
  for (const char* trace : {"terminate called", "what():", "frame #", "Aborted"})
    EXPECT_EQ(outcome.text.find(trace), std::string::npos) << outcome.text;
  EXPECT_EQ(std::filesystem::file_size(dir / "text.db"), 41u) << "a foreign file was touched";
  std::filesystem::remove_all(dir);
}

const WrongInput kWrongInputs[] = {
    {"UnknownKey", "run mixer.windw=3", {"mixer.windw"}},
    {"WindowZero", "run mixer.window=0", {"mixer.window", "at least 1"}},
    {"UnknownStrategy", "run strategy=periodik", {"periodik", "periodic"}},
    {"UnknownOptionOfAStrategy", "run strategy=periodic strategy.ofset=1", {"ofset", "offset"}},
    {"NotANumber", "run budget.fraction=much", {"budget.fraction", "much"}},
    {"LinearOfNoKind", "run mixer.kind=linear_attention", {"mixer.linear", "lightning, gla"}},
    {"LinearDecodesInFull",
     "select -o @DIR@/plan.json mixer=linear_attention decode_rule=full",
     {"decode_rule", "expected same"}},
    {"SelectionOverAnotherFile",
     "select -o @DIR@/text.db",
     {"text.db: expected nothing where the file goes, got something"}},
    {"SelectionEvidenceOverAnotherFile",
     "select -o @DIR@/new.json --selection @DIR@/text.db",
     {"text.db: expected nothing where the file goes, got something"}},
    {"MissingModel",
     "run model=directory model.path=@DIR@/nothing",
     {"nothing: expected a model directory"}},
    {"EmptyModelDirectory", "run model=directory model.path=@DIR@/empty_model", {"config.json"}},
    {"MandatoryValue", "run model=directory", {"model.path"}},
    {"ForeignDatabase", "report leaderboard db=@DIR@/text.db", {"text.db"}},
    {"MissingDatabase", "report leaderboard db=@DIR@/none.db", {"none.db"}},
    {"ReportOfNoRun", "report run db=x.db", {"report run takes one run, got 0", "RUN [db=FILE]"}},
    {"ReportOfNothing", "report run", {"report run takes one run, got 0", "report run RUN [db="}},
    {"ComparisonOfNothing",
     "report compare",
     {"report compare takes two runs or files, got 0", "report compare RUN RUN [db=FILE]",
      "report compare A.db B.db"}},
    {"ComparisonOfOne", "report compare 12 db=x.db", {"takes two runs or files, got 1"}},
    {"VerificationOfNoPlan", "verify", {"--plan is required"}},
    {"VerificationOfAMissingPlan", "verify --plan @DIR@/none.json", {"none.json"}},
    {"VerificationOfNoSamples", "verify --plan x --samples 0", {"--samples", "0"}},
    {"VerificationWithoutTolerance",
     "verify --plan x --tolerance -1",
     {"--tolerance", "at least 0", "-1"}},
    {"ReportOfTwoRuns", "report run 1 2", {"report run takes one run, got 2"}},
    {"ResumeOfAnUnknownRun", "run --resume 12 db=@DIR@/none.db", {"none.db", "no file"}},
    {"ResumeWithMoreThanItsDatabase",
     "run --resume 12 mixer.window=3 db=@DIR@/none.db",
     {"expected db= alone, got 'mixer.window=3'"}},
    {"MigrationOfNothing", "db migrate @DIR@/none.db", {"none.db: there is no such file"}},
    {"UnknownReportKey", "report leaderboard dp=x", {"dp", "db"}},
    {"UnknownCommand", "rum", {"no subcommand 'rum'", "did you mean 'run'?"}},
    {"UnknownReport",
     "report leaderbord",
     {"strata report has no subcommand 'leaderbord'", "did you mean 'leaderboard'?"}},
    {"NoReport", "report", {"subcommand"}},
    {"ReportOfADatabaseWithoutItsKey",
     "report leaderboard @DIR@/text.db",
     {"unknown key", "hint: db=/"}},
    {"ReportFilteredByAStoredKey",
     "report leaderboard budget.fraction=0.25",
     {"hint: --where budget.fraction=0.25"}},
    {"ComparisonWithAMissingFile",
     "report compare @DIR@/text.db nofile.db",
     {"nofile.db: there is no such file"}},
    {"ComparisonOfAFileAndARun",
     "report compare @DIR@/text.db 1395",
     {"1395: there is no such file"}},
    {"ReportOfARunThatIsAFile",
     "report run @DIR@/text.db",
     {"text.db: expected a run's id, got a file", "report run RUN db=/"}},
    {"NoCommand", "", {"subcommand"}},
    {"BadJsonl", "samples benchmark=jsonl benchmark.path=@DIR@/bad.jsonl", {"bad.jsonl", "prompt"}},
};

INSTANTIATE_TEST_SUITE_P(ProgramsTest, WrongInputTest, ::testing::ValuesIn(kWrongInputs),
                         [](const auto& wrong) { return wrong.param.name; });

// What needs the default model's directory.
std::string model_dir() {
  if (const char* given = std::getenv("STRATA_SMOLLM2")) return given;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  return (cache != nullptr ? std::string(cache)
                           : std::string(home != nullptr ? home : "") + "/.cache") +
         "/strata/models/smollm2-135m-instruct";
}

TEST(ProgramsTest, WhatTheModelCannotDoIsAnErrorBeforeAnythingIsWritten) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path db =
      std::filesystem::path(::testing::TempDir()) / "strata_refused.db";
  const auto refused = [&](const std::string& arguments) {
    const Outcome outcome = strata("run model.path=" + model_dir() + " db=" + db.string() +
                                   " benchmark.samples=1 " + arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.text;
    return outcome.text;
  };
  EXPECT_NE(
      refused("strategy=random budget.units=31").find("budget.units is 31; the model has 30 units"),
      std::string::npos);
  EXPECT_NE(refused("strategy=full benchmark.length=100000").find("positions"), std::string::npos);
  if (std::system("nvidia-smi -L > /dev/null 2>&1") != 0) {
    EXPECT_NE(refused("strategy=full device=cuda").find("no CUDA device"), std::string::npos);
  }
  std::filesystem::remove(db);
}

TEST(ProgramsTest, ADryRunRefusesWhatTheRunWouldWithoutItsWeights) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const auto dry = [](const std::string& arguments) {
    return strata("run --dry-run benchmark.samples=2 calibration.samples=2 benchmark.length=256 " +
                  arguments);
  };
  const std::string model = " model.path=" + model_dir();
  EXPECT_EQ(dry("strategy=periodic" + model).code, 0);
  EXPECT_EQ(dry("strategy=full budget.fraction=1.5" + model).code, 0) << "it has no budget";
  for (const auto& [words, says] : std::vector<std::pair<std::string, std::string>>{
           {"strategy=periodic budget.fraction=1.5" + model, "budget.fraction is 1.5"},
           {"strategy=periodic budget.fraction=0" + model, "budget.fraction is 0"},
           {"strategy=random budget.units=31" + model, "the model has 30 units"},
           {"strategy=random budget.units=-2" + model, "budget.units is -2"},
           {"benchmark.samples=0" + model, "niah"},
           {"strategy=file strategy.path=/none.json" + model, "/none.json: there is no such file"},
           {"model=directory model.path=/none", "/none/config.json"}}) {
    const Outcome outcome = dry(words);
    EXPECT_EQ(outcome.code, 1) << words << '\n' << outcome.text;
    EXPECT_NE(outcome.text.find(says), std::string::npos) << words << '\n' << outcome.text;
    EXPECT_EQ(outcome.text.find("nothing run"), std::string::npos) << outcome.text;
  }
}

TEST(ProgramsTest, LinearAttentionIsRefusedByAModelWithoutBranches) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / "strata_linear";
  std::filesystem::create_directories(dir);
  const std::string select = "select -o " + (dir / "plan.json").string() + " strategy=";
  for (const std::string& command :
       {std::string("run strategy=nll_guided"), std::string("run strategy=none"),
        select + "periodic strategy.offset=0", select + "halo_ratio", select + "light_transfer",
        select + "duo_attention strategy.window=9",
        std::string("bench prefill strategy=random strategy.draw=0"),
        std::string("bench gates strategy=full")}) {
    const Outcome outcome =
        strata(command +
               " mixer.kind=linear_attention mixer.linear=gla mixer.window=32 benchmark.samples=1 "
               "calibration.samples=1 benchmark.length=256 model.path=" +
               model_dir() + " db=" + (dir / "results.db").string());
    EXPECT_EQ(outcome.code, 1) << command << outcome.text;
    EXPECT_NE(outcome.text.find(" has no trained gla branch; expected a model made by strata "
                                "convert"),
              std::string::npos)
        << command << outcome.text;
  }
  EXPECT_FALSE(std::filesystem::exists(dir / "plan.json"));
  std::filesystem::remove_all(dir);
}

TEST(ProgramsTest, AGatedPassIsMeasuredWhereItsTokensFit) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const auto bench = [&](const std::string& arguments) {
    return strata("bench gates --repeats 2 batch=1 strategy=none model.path=" + model_dir() + " " +
                  arguments);
  };
  std::vector<nlohmann::json> lines;
  for (const char* length : {"48", "96"}) {
    const Outcome outcome = bench(std::string("benchmark.length=") + length);
    ASSERT_EQ(outcome.code, 0) << outcome.text;
    lines.push_back(nlohmann::json::parse(outcome.text.substr(outcome.text.find('{'))));
    EXPECT_EQ(lines.back()["seconds"].size(), 2U);
  }
  // Forward and backward through 106 million weights of layers, 2 operations each a token.
  const double layers = 2.0 * 106e6 * 48;
  EXPECT_GT(lines[0]["flops"].get<double>(), 2 * layers);
  EXPECT_LT(lines[0]["flops"].get<double>(), 3 * layers);
  // Twice the rows, but as many scored ones.
  EXPECT_GT(lines[1]["flops"].get<double>(), 1.8 * lines[0]["flops"].get<double>());
  EXPECT_GT(lines[1]["least_bytes"], lines[0]["least_bytes"]);
  const Outcome refused = bench("benchmark.length=16");
  EXPECT_EQ(refused.code, 1);
  EXPECT_NE(refused.text.find("expected more than 16 tokens"), std::string::npos) << refused.text;
}

TEST(ProgramsTest, ARecordedRunIsSkippedUntilItsDataChanges) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path dir =
      std::filesystem::path(::testing::TempDir()) / "strata_recorded_run";
  std::filesystem::create_directories(dir);
  const auto record = [&](const std::string& answer) {
    std::ofstream(dir / "q.jsonl")
        << R"({"id": "a", "prompt": "One and one is", "answer": ")" << answer
        << R"(", "split": "test"})"
        << "\n"
        << R"({"id": "b", "prompt": "Two and two is", "answer": " four", "split": "calibration"})"
        << "\n";
    const Outcome outcome =
        strata("run strategy=full benchmark=jsonl calibration.samples=1 model.path=" + model_dir() +
               " benchmark.path=" + (dir / "q.jsonl").string() + " db=" + (dir / "r.db").string());
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    return outcome.text;
  };
  const std::string first = record(" two");
  EXPECT_NE(first.find("1 run recorded"), std::string::npos);
  const std::size_t id = first.find("run ") + 4;
  for (const std::string& words : {first.substr(id, 12) + " db=" + (dir / "r.db").string(),
                                   "db=" + (dir / "r.db").string() + " " + first.substr(id, 12)}) {
    const Outcome report = strata("report run " + words);
    EXPECT_EQ(report.code, 0);
    EXPECT_NE(report.text.find("full · done · started"), std::string::npos) << report.text;
  }
  EXPECT_NE(record(" two").find("1 were there already"), std::string::npos);
  // The path and the whole configuration are the same; what is asked is not.
  const std::string changed = record(" 2");
  EXPECT_NE(changed.find("1 run recorded"), std::string::npos) << changed;
  EXPECT_EQ(changed.find("already"), std::string::npos) << changed;
  for (const char* named : {"check db=", "check ", "migrate ", "dump "}) {
    const Outcome done = strata(std::string("db ") + named + (dir / "r.db").string());
    EXPECT_EQ(done.code, 0) << done.text;
  }
  std::filesystem::remove_all(dir);
}

TEST(ProgramsTest, DevelopmentSamplesAreEvaluatedAndReportedApartFromTheTest) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / "strata_splits";
  std::filesystem::create_directories(dir);
  std::ofstream(dir / "q.jsonl")
      << R"({"id": "a", "prompt": "One and one is", "answer": " two", "split": "test"})"
      << "\n"
      << R"({"id": "b", "prompt": "Two and two is", "answer": " four", "split": "calibration"})"
      << "\n"
      << R"({"id": "c", "prompt": "Two and one is", "answer": " three", "split": "development"})"
      << "\n";
  const std::string db = " db=" + (dir / "r.db").string();
  const std::string keys =
      " benchmark=jsonl calibration.samples=1 benchmark.path=" + (dir / "q.jsonl").string() +
      " model.path=" + model_dir();
  const Outcome ran = strata("run -m strategy=full benchmark.split=test,development" + keys + db);
  ASSERT_EQ(ran.code, 0) << ran.text;
  EXPECT_NE(ran.text.find("2 runs recorded"), std::string::npos) << ran.text;
  const Outcome report = strata("report leaderboard" + db);
  const std::size_t test = report.text.find(" · jsonl · 1 sample, ");
  const std::size_t development = report.text.find(" · jsonl, development split · 1 sample, ");
  EXPECT_LT(test, development) << report.text;
  EXPECT_NE(development, std::string::npos) << report.text;
  for (const std::string split : {"test", "development"}) {
    std::string words = "samples benchmark.split=";
    words.append(split).append(keys);
    const Outcome samples = strata(words);
    EXPECT_NE(samples.text.find(split == "test" ? " two" : " three"), std::string::npos)
        << samples.text;
    EXPECT_EQ(samples.text.find(split == "test" ? " three" : " two"), std::string::npos)
        << samples.text;
  }
  std::filesystem::remove_all(dir);
}

// The csv cell of the row whose strategy is `strategy`.
std::string csv_cell(const std::string& csv, const std::string& strategy, const std::string& name) {
  std::istringstream in(csv);
  std::string line;
  std::vector<std::string> names;
  while (std::getline(in, line)) {
    std::vector<std::string> cells;
    std::string cell;
    bool quoted = false;
    for (const char c : line + ",")
      if (c == '"')
        quoted = !quoted;
      else if (c == ',' && !quoted)
        cells.push_back(std::exchange(cell, {}));
      else
        cell += c;
    const auto column = [&](const std::string& wanted) {
      return static_cast<std::size_t>(std::find(names.begin(), names.end(), wanted) -
                                      names.begin());
    };
    if (names.empty())
      names = cells;
    else if (cells.at(column("strategy")) == strategy)
      return cells.at(column(name));
  }
  return "no row";
}

TEST(ProgramsTest, RunningTextIsScoredAndNotGeneratedUnderBothDecodeRules) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path dir =
      std::filesystem::path(::testing::TempDir()) / "strata_local_text";
  std::filesystem::create_directories(dir);
  std::vector<double> harm;
  for (const std::string keys :
       {"decode_rule=same mixer.window=16", "decode_rule=full mixer.window=16",
        "decode_rule=same mixer.window=96"}) {
    const std::string db = " db=" + (dir / (std::to_string(harm.size()) + ".db")).string();
    std::string command = "run -m strategy=full,none benchmark=local_text benchmark.length=96 ";
    command += "benchmark.samples=2 calibration.samples=1 mixer.sinks=2 threads=1 model.path=";
    command += model_dir();
    command += ' ';
    command += keys;
    command += db;
    const Outcome ran = strata(command);
    ASSERT_EQ(ran.code, 0) << ran.text;
    const Outcome report = strata("report leaderboard --format csv" + db);
    EXPECT_EQ(csv_cell(report.text, "none", "gen_contains"), "") << report.text;
    EXPECT_EQ(csv_cell(report.text, "none", "tf_exact"), "") << report.text;
    EXPECT_GT(std::stod(csv_cell(report.text, "full", "answer_nll")), 0.5) << report.text;
    harm.push_back(std::stod(csv_cell(report.text, "none", "nll_minus_full")));
  }
  EXPECT_GT(harm[0], 0.01);     // every scored token is windowed
  EXPECT_LT(harm[1], harm[0]);  // the prompt alone is
  EXPECT_NE(harm[1], 0);
  EXPECT_NEAR(harm[2], 0, 1e-4);  // nothing is: the window holds it all
  std::filesystem::remove_all(dir);
}

TEST(ProgramsTest, TheGridOfLengthsAndDepthsIsAskedAndReported) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / "strata_grid";
  std::filesystem::create_directories(dir);
  const std::string db = " db=" + (dir / "g.db").string();
  std::string command = "run benchmark=niah_grid calibration=niah strategy=full threads=1 ";
  command += "benchmark.min_length=160 benchmark.max_length=260 benchmark.lengths=2 ";
  command += "benchmark.depths=2 benchmark.buffer=60 model.path=" + model_dir();
  const Outcome ran = strata(command + db);
  ASSERT_EQ(ran.code, 0) << ran.text;
  const Outcome cells = strata("report grid --format csv" + db);
  for (const char* cell : {",160,0,1,", ",160,100,1,", ",260,0,1,", ",260,100,1,"})
    EXPECT_NE(cells.text.find(cell), std::string::npos) << cell << '\n' << cells.text;
  const Outcome map = strata("report grid" + db);
  EXPECT_NE(map.text.find("gen_contains % by depth and length"), std::string::npos) << map.text;
  std::filesystem::remove_all(dir);
}

TEST(ProgramsTest, ATruncatedModelFileIsNamed) {
  if (!std::filesystem::exists(model_dir() + "/config.json"))
    GTEST_SKIP() << "no model at " << model_dir();
  const std::filesystem::path copy =
      std::filesystem::path(::testing::TempDir()) / "strata_truncated_model";
  std::filesystem::create_directories(copy);
  for (const char* file :
       {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"})
    std::filesystem::copy_file(model_dir() + "/" + file, copy / file,
                               std::filesystem::copy_options::overwrite_existing);
  run_command("head -c 1000000 " + model_dir() + "/model.safetensors > " +
              (copy / "model.safetensors").string());
  const Outcome outcome = strata("run model=directory strategy=full model.path=" + copy.string() +
                                 " db=" + (copy / "x.db").string());
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.text.find("model.safetensors"), std::string::npos) << outcome.text;
  std::filesystem::remove_all(copy);
}

}  // namespace
}  // namespace strata
