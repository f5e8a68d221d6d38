// What a database already holds of a job: a finished run, a run that can be carried on, and how
// what a run was made of differs from what the same configuration leads to now.
//
// A configuration names files and a device; what is behind them may change. A run counts as the
// job's own only while model, tokenizer, plan, samples, calibration, generation, numerics, device
// and dtype are what they were, and is carried on only by the build, on the processor and with the
// threads that began it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "results/store.h"
#include "runner/experiment_config.h"
#include "runner/workbench.h"

namespace strata {

// The configuration of a job as it is recorded: where the answers are written (db=) is no part of
// it.
nlohmann::json job_keys(const ExperimentConfig& config);
// What identifies the job: its keys but diagnostics, which change no plan and no answer. A run with
// diagnostics=full counts for a job that asks for less; one without does not for a job that asks
// for them (find_recorded).
std::string job_hash(const ExperimentConfig& config);

struct Difference {
  std::string what;  // "model", "budget.fraction", "build"
  std::string was, is;
};
// One line each: "what: was → is".
std::string to_text(const std::vector<Difference>& differences);

// Differences of the inputs that the run has recorded so far, and of the machine and the build.
struct RunDifferences {
  std::vector<Difference> inputs, execution;
};
Result<RunDifferences> differences(const RunRow& run, const Job& job, Workbench& workbench,
                                   const Store& store, const std::string& build);

struct Recorded {
  bool finished = false;
  std::optional<RunRow> unfinished;  // the latest that can be carried on
};
Result<Recorded> find_recorded(const Job& job, Workbench& workbench, const Store& store,
                               const std::string& build);

// A run's job by its recorded configuration, which has no db.
Result<Job> recorded_job(const RunRow& run);

// The job of an unfinished run, by its recorded configuration, for --resume. Errors: every
// difference of what it names and of the machine, each on a line.
Result<Job> job_to_resume(const RunRow& run, const std::string& db, Workbench& workbench,
                          const Store& store, const std::string& build);

}  // namespace strata
