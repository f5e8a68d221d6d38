#include "runner/diagnostics.h"

#include "models/meter_json.h"
#include "strategies/model_checks.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

void append(nlohmann::json& diagnostics, const nlohmann::json& noted) {
  for (const auto& [list, items] : noted.items())
    for (const nlohmann::json& item : items) diagnostics[list].push_back(item);
}

}  // namespace

Status note_full_checks(const ExperimentConfig& config, const SelectionRequest& request,
                        Workbench& workbench, Progress& progress, SelectedPlan& selected) {
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  MeteredModel metered(*model, run_limits(config), sample_workers(config));
  SelectionContext context{.model = &metered,
                           .calibration = &task->calibration,
                           .cache = &workbench.scores(),
                           .checkpoint = {},
                           .progress = &progress};
  const ModelProbe probe = probe_of(request, context);
  const Sample& sample = task->calibration.samples[0];
  nlohmann::json& diagnostics = selected.selection.diagnostics;
  Meter cost;
  const auto once = [&](const char* what, auto&& look) -> Status {
    ASSIGN_OR_RETURN(
        const SharedScores noted,
        shared_scores(request, context, {{"checks of", what}}, [&]() -> Result<SharedScores> {
          SharedScores entry;
          ASSIGN_OR_RETURN(const std::vector<Check> checks, look(probe, request, sample));
          for (const Check& check : checks) note(entry.diagnostics, check);
          return entry;
        }));
    append(diagnostics, noted.diagnostics);
    cost += noted.reused_cost;
    return {};
  };
  progress.begin("signs of a bug", 0);
  RETURN_IF_ERROR(once("the model", model_checks));
  if (selected.cost.backward_tokens > 0) RETURN_IF_ERROR(once("gradients", gradient_checks));
  progress.end();
  ASSIGN_OR_RETURN(const std::vector<Check> searched,
                   search_checks(request, selected.selection, mask_losses(request, context, {}),
                                 task->calibration.samples.size(), probe.resolution.nll));
  for (const Check& check : searched) note(diagnostics, check);
  cost += metered.take_meter();
  // Diagnostics are content, and the same each time.
  diagnostics["checks_cost"] = to_json(cost);
  diagnostics["checks_cost"].erase("seconds");
  return {};
}

}  // namespace strata
