// One job, from its configuration to durable rows: select, evaluate every sample, record each when
// it is scored.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/progress.h"
#include "core/result.h"
#include "results/store.h"
#include "runner/experiment_config.h"
#include "runner/workbench.h"

namespace strata {

struct SelectedPlan {
  Selection selection;
  AttentionPlan plan;
  Meter cost;               // counted by the metered model; reused scores at what they had cost
  std::string supervision;  // CalibrationNeeds::supervision()
};

// Whether the model has weights for the mixers that a strategy which runs it will try: the cheap
// one in any unit. (The plan that a strategy gives is checked once it is there.)
Status check_mixers(const ExperimentConfig& config, const SelectionStrategy& strategy,
                    const Model& model);

// Runs the strategy. checkpoint: the file in which a training keeps its state while it runs; empty
// = none. trainer: of the model's weights, where the strategy may train them. Errors: needs that
// calibration does not meet, those of the strategy and the model.
Result<SelectedPlan> run_selection(const ExperimentConfig& config, Workbench& workbench,
                                   Progress& progress, const std::filesystem::path& checkpoint = {},
                                   WeightTrainer* trainer = nullptr);

// selection.json (with its plan.json inside), as `strata select` writes it.
nlohmann::json selection_json(const ExperimentConfig& config, const SelectedPlan& selected,
                              const std::string& model_id);

// What the job asks under a plan, and with what it would be computed, as rows; their ids filled in.
Result<ExperimentRow> experiment_row(const ExperimentConfig& config, Workbench& workbench,
                                     const std::string& plan_id);
Result<ExecutionRow> execution_row(const ExperimentConfig& config, Workbench& workbench,
                                   const std::string& run_id, const std::string& build);

struct RunOutcome {
  std::string run_id;
  std::string label;
  std::size_t samples = 0;
  std::size_t answered_before = 0;   // by this run or another of its experiment
  std::vector<std::string> signs;    // of a bug, that its selection shows
  std::vector<std::string> notices;  // what was left out of the samples to make them fit
};

// Everything recorded in `store`; a run that fails or is interrupted is recorded as such, with the
// samples it finished. `earlier`: an unfinished run of this job to carry on (runner/recorded.h);
// its selection and its answers are kept.
Result<RunOutcome> run_job(const Job& job, const std::optional<RunRow>& earlier,
                           Workbench& workbench, Store& store, const std::string& build,
                           Progress& progress);

// The runs of a sweep: strategies that ignore the budget (full, none, file) run once in a sweep
// over budgets, those with variants (every offset, every draw) once for each. Loads the models,
// whose layers decide how many offsets there are.
Result<std::vector<Job>> runs_of(std::vector<Job> jobs, Workbench& workbench);

}  // namespace strata
