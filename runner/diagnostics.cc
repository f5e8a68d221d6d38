#include "runner/diagnostics.h"

#include "models/meter_json.h"
#include "strategies/model_checks.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

void append(nlohmann::json& diagnostics, const nlohmann::json& noted) {
  for (const auto& [key, value] : noted.items()) {
    if (!value.is_array())
      diagnostics[key] = value;
    else
      for (const nlohmann::json& item : value) diagnostics[key].push_back(item);
  }
}

}  // namespace

Status note_full_checks(const ExperimentConfig& config, const SelectionStrategy& strategy,
                        const SelectionRequest& request, Workbench& workbench, Progress& progress,
                        SelectedPlan& selected) {
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
  const auto once = [&](const nlohmann::json& what, auto&& look) -> Status {
    ASSIGN_OR_RETURN(
        const SharedScores noted,
        shared_scores(request, context, {{"checks of", what}}, [&]() -> Result<SharedScores> {
          ASSIGN_OR_RETURN(nlohmann::json found, look());
          return SharedScores{.diagnostics = std::move(found)};
        }));
    append(diagnostics, noted.diagnostics);
    cost += noted.reused_cost;
    return {};
  };
  const auto noted = [&](auto&& checks_of) {
    return [&]() -> Result<nlohmann::json> {
      ASSIGN_OR_RETURN(const std::vector<Check> checks, checks_of(probe, request, sample));
      nlohmann::json out = nlohmann::json::object();
      for (const Check& check : checks) note(out, check);
      return out;
    };
  };
  progress.begin("signs of a bug", 0);
  RETURN_IF_ERROR(once("the model", noted(model_checks)));
  if (selected.cost.backward_tokens > 0) RETURN_IF_ERROR(once("gradients", noted(gradient_checks)));
  RETURN_IF_ERROR(once({{"strategy", config.strategy.to_json()}, {"seed", request.seed}},
                       [&] { return strategy.full_checks(request, context, selected.selection); }));
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
