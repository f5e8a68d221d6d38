// One job, from its configuration to durable rows: select, evaluate every sample, record each when
// it is scored.
#pragma once

#include <string>

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
  std::string supervision;  // none, answers
};

// Runs the strategy. Errors: needs that calibration does not meet, those of the strategy and the
// model.
Result<SelectedPlan> run_selection(const ExperimentConfig& config, Workbench& workbench,
                                   Progress& progress);

// selection.json (with its plan.json inside), as `strata select` writes it.
nlohmann::json selection_json(const ExperimentConfig& config, const SelectedPlan& selected,
                              const std::string& model_id);

// Whether a finished run of this very configuration is in the store, of the model, tokenizer,
// samples and calibration that its paths hold now and under these numerics: a path says nothing
// about what is behind it.
Result<bool> is_recorded(const Job& job, Workbench& workbench, const Store& store);

struct RunOutcome {
  std::string run_id;
  std::string label;
};

// Everything recorded in `store`; a run that fails or is interrupted is recorded as such, with the
// samples it finished.
Result<RunOutcome> run_job(const Job& job, Workbench& workbench, Store& store,
                           const std::string& build, Progress& progress);

// The runs of a sweep: strategies that ignore the budget (full, none, file) run once in a sweep
// over budgets, those with variants (every offset, every draw) once for each. Loads the models,
// whose layers decide how many offsets there are.
Result<std::vector<Job>> runs_of(std::vector<Job> jobs, Workbench& workbench);

}  // namespace strata
