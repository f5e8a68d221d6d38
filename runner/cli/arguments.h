// The command line of both programs, parsed once: `strata` checks and answers what needs no model
// and hands the rest, word for word, to `strata-engine` beside it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "runner/experiment_config.h"

namespace strata::cli {

enum class Command {
  kRun,
  kSelect,
  kVerify,
  kTrain,
  kConvert,
  kBenchDecode,
  kBenchGates,
  kBenchMixer,
  kBenchPrefill,
  kSamples,
  kScore,
  kExport,
  kReportAblation,
  kReportClaims,
  kReportCompare,
  kReportGrid,
  kReportLeaderboard,
  kReportLengths,
  kReportLongMemEval,
  kReportPaper,
  kReportRun,
  kReportRuns,
  kDbCheck,
  kDbDump,
  kDbMerge,
  kDbMigrate
};

struct Arguments {
  Command command = Command::kRun;
  LoadRequest load;            // config dirs, overrides, multirun
  bool show_job = false;       // --cfg job
  bool resolve = false;        // --resolve
  bool show_defaults = false;  // --info defaults-tree
  bool dry_run = false;
  std::string resume;         // run --resume: a run's id, or its beginning
  int repeats = 7;            // bench
  int new_tokens = 32;        // bench decode
  std::string plan_in;        // export, verify --plan
  std::string plan_out;       // select -o
  std::string selection_out;  // select --selection
  std::string model_out;      // train, convert -o
  std::size_t verify_samples = 20, allowed_changes = 0;  // verify
  std::uint64_t verify_seed = 0;
  double tolerance = 1e-3;                        // nats
  std::int64_t train_steps = 0, train_batch = 1;  // train
  std::optional<std::int64_t> activation_mib;
  double train_rate = 1e-4, train_clip = 1, checkpoint_seconds = 300;
  std::string format = "text";
  bool ascii = false;
  std::vector<std::string> where, by;  // report: filters and groups
  bool trace = false;                  // report: the rows behind the numbers
  std::size_t changed_samples = 20;    // report compare
  std::vector<std::string> names;      // run ids, database files
};

struct Parsed {
  Arguments arguments;
  int exit_code = -1;  // ≥ 0: help or a usage error was printed; stop
};

Parsed parse(int argc, char** argv);

// Folders with configs/: --config-dir first, then ./configs, then the one that belongs to this
// build.
std::vector<std::filesystem::path> default_config_dirs();

// "error: …" on standard error; 1, or 130 where the user interrupted.
int report_error(const Error& error);

int run_engine(const Arguments& arguments);  // strata-engine's part: run, select, bench
int run_light(const Arguments& arguments);   // strata's part: everything else

}  // namespace strata::cli
