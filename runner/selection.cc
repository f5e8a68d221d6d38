// The selecting half of a job.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "models/meter_json.h"
#include "runner/diagnostics.h"
#include "runner/experiment.h"
#include "strategies/registry.h"
#include "strategies/signs.h"

namespace strata {
namespace {

SelectionRequest request_for(const ExperimentConfig& config, const Model& model) {
  return {.layout = model.layout(),
          .granularity = config.granularity,
          .budget = config.core_budget(),
          .kept = FullAttention{},
          .cheap = config.cheap_mixer(),
          .rule = config.decode_rule,
          .seed = config.strategy_seed(),
          .native = model.native_plan()};
}

}  // namespace

Status check_mixers(const ExperimentConfig& config, const SelectionStrategy& strategy,
                    const Model& model) {
  if (!strategy.needs().model) return {};
  ASSIGN_OR_RETURN(
      const AttentionPlan cheap,
      request_for(config, model).plan(Mask(config.granularity, model.layout(), false)));
  return model.check_mixers(cheap);
}

Result<SelectedPlan> run_selection(const ExperimentConfig& config, Workbench& workbench,
                                   Progress& progress, const std::filesystem::path& checkpoint,
                                   WeightTrainer* trainer) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SelectionStrategy> strategy,
                   make_strategy(config.strategy));
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  const SelectionRequest request = request_for(config, *model);
  const CalibrationNeeds needs = strategy->needs();
  RETURN_IF_ERROR(check_mixers(config, *strategy, *model));
  MeteredModel metered(*model, run_limits(config), sample_workers(config));
  SelectionContext context{.cache = &workbench.scores(),
                           .checkpoint = checkpoint,
                           .progress = &progress,
                           .trainer = trainer};
  if (needs.model) context.model = &metered;
  CalibrationSet calibration;
  if (needs.any_samples()) {
    ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
    calibration = given(needs, task->calibration);
    context.calibration = &calibration;
  }
  Result<Selection> selection = strategy->select(request, context);
  if (!selection)
    return fail(std::move(selection).error().at("strategy " + config.strategy_name()));
  note_score_signs(*selection);
  ASSIGN_OR_RETURN(AttentionPlan plan, selection->plan ? Result<AttentionPlan>(*selection->plan)
                                                       : request.plan(selection->mask));
  RETURN_IF_ERROR(model->check_mixers(plan));
  Meter cost = metered.take_meter();
  cost += selection->reused_cost;
  SelectedPlan selected{*std::move(selection), std::move(plan), cost,
                        std::string(needs.supervision())};
  if (config.diagnostics == Diagnostics::kFull && needs.model)
    RETURN_IF_ERROR(note_full_checks(config, *strategy, request, workbench, progress, selected));
  return selected;
}

nlohmann::json selection_json(const ExperimentConfig& config, const SelectedPlan& selected,
                              const std::string& model_id) {
  const Mask& mask = selected.selection.mask;
  const auto rows = [&](const std::vector<double>& flat) {
    nlohmann::json out = nlohmann::json::array();
    for (std::size_t i = 0; i < flat.size(); i += static_cast<std::size_t>(mask.units())) {
      nlohmann::json row = nlohmann::json::array();
      for (int unit = 0; unit < mask.units(); ++unit) {
        const double value = flat[i + static_cast<std::size_t>(unit)];
        row.push_back(std::isfinite(value) ? nlohmann::json(value) : nlohmann::json());
      }
      out.push_back(std::move(row));
    }
    return out;
  };
  const auto strategy = make_strategy(config.strategy);  // as it was made to select
  nlohmann::json json = {{"strategy", config.strategy_name()},
                         {"label", strategy ? (*strategy)->label() : config.strategy_name()},
                         {"group", strategy ? (*strategy)->group() : config.strategy_name()},
                         {"config", config::to_json(config)},
                         {"model", model_id},
                         {"mask", to_json(mask)},
                         {"scores", nullptr},
                         {"standard_errors", nullptr},
                         {"cost", to_json(selected.cost)},
                         {"supervision", selected.supervision},
                         {"diagnostics", selected.selection.diagnostics},
                         {"training", selected.selection.training},
                         {"plan", selected.plan.to_json()}};
  if (selected.selection.scores) {
    json["scores"] = rows(selected.selection.scores->score);
    json["standard_errors"] = rows(selected.selection.scores->standard_error);
  }
  return json;
}

Result<std::vector<Job>> runs_of(std::vector<Job> jobs, Workbench& workbench) {
  std::vector<Job> runs;
  std::vector<std::string> seen;
  for (Job& job : jobs) {
    ASSIGN_OR_RETURN(const std::unique_ptr<SelectionStrategy> strategy,
                     make_strategy(job.config.strategy));
    if (!strategy->uses_budget()) {
      nlohmann::json key = config::to_json(job.config);
      key.erase("budget");
      std::string text = key.dump();
      if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
      seen.push_back(std::move(text));
    }
    ASSIGN_OR_RETURN(const Model* model, workbench.model(job.config));
    ASSIGN_OR_RETURN(const SelectionStrategy::Variants variants,
                     strategy->variants(request_for(job.config, *model)));
    for (const std::int64_t value : variants.values) {
      Job variant = job;
      variant.config.strategy.if_map()->set(variants.key, value);
      runs.push_back(std::move(variant));
    }
    if (variants.values.empty()) runs.push_back(std::move(job));
  }
  return runs;
}

}  // namespace strata
