#include "runner/recorded.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "runner/config/yaml_reader.h"
#include "runner/experiment.h"
#include "strategies/registry.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::size_t kShownId = 12;  // of 64 hexadecimal digits

std::string shown_id(const std::string& id) { return id.empty() ? "none" : id.substr(0, kShownId); }

void compare(std::vector<Difference>& out, std::string what, std::string was, std::string is) {
  if (was != is) out.push_back({std::move(what), std::move(was), std::move(is)});
}

void compare_ids(std::vector<Difference>& out, std::string what, const std::string& was,
                 const std::string& is) {
  if (was != is) out.push_back({std::move(what), shown_id(was), shown_id(is)});
}

// Leaves of two configurations that differ, by dotted key.
void compare_keys(std::vector<Difference>& out, const std::string& path, const json& was,
                  const json& is) {
  if (!was.is_object() || !is.is_object()) {
    if (was != is) out.push_back({path, was.dump(), is.dump()});
    return;
  }
  json keys = was;
  keys.update(is);
  for (const auto& [key, unused] : keys.items()) {
    const std::string below = path.empty() ? key : fmt::format("{}.{}", path, key);
    if (!was.contains(key))
      out.push_back({below, "not set", is[key].dump()});
    else if (!is.contains(key))
      out.push_back({below, was[key].dump(), "not set"});
    else
      compare_keys(out, below, was[key], is[key]);
  }
}

// The id of the job's plan where finding it takes no pass of the model; else none. A configuration
// names a plan's file, whose content may have changed.
Result<std::optional<std::string>> cheap_plan_id(const Job& job, Workbench& workbench) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SelectionStrategy> strategy,
                   make_strategy(job.config.strategy));
  const CalibrationNeeds needs = strategy->needs();
  if (needs.model || needs.any_samples()) return std::optional<std::string>();
  SilentProgress silent;
  const Result<SelectedPlan> selected = run_selection(job.config, workbench, silent);
  // What keeps it from selecting is the new run's error, and no other job's.
  return std::optional(selected ? selected->plan.id() : "");
}

Status compare_inputs(const RunRow& run, const Job& job, Workbench& workbench, const Store& store,
                      std::vector<Difference>& out) {
  if (run.experiment_id) {
    ASSIGN_OR_RETURN(const ExperimentRow was, store.experiment(*run.experiment_id));
    ASSIGN_OR_RETURN(const ExperimentRow is,
                     experiment_row(job.config, workbench, /*plan_id=*/was.plan_id));
    compare_ids(out, "model", was.model_id, is.model_id);
    compare_ids(out, "tokenizer", was.tokenizer_id, is.tokenizer_id);
    ASSIGN_OR_RETURN(const std::optional<std::string> plan, cheap_plan_id(job, workbench));
    if (plan) compare_ids(out, "plan", was.plan_id, *plan);
    compare_ids(out, "samples", was.data_id, is.data_id);
    // The column may have been edited by hand.
    compare_keys(out, "generation", parse_json(was.generation_json).value_or(json()),
                 parse_json(is.generation_json).value_or(json()));
    compare(out, "numerics", std::to_string(was.numerics_version),
            std::to_string(is.numerics_version));
  }
  if (run.selection_id) {
    ASSIGN_OR_RETURN(const SelectionRow was, store.selection(*run.selection_id));
    if (!was.calibration_id.empty()) {
      ASSIGN_OR_RETURN(const Task* task, workbench.task(job.config));
      compare_ids(out, "calibration", was.calibration_id, task->calibration.id);
    }
  }
  return {};
}

// Whether the run looked, or will look, for all signs of a bug that the job asks for. (The column
// may have been edited by hand.)
bool checked_enough(const RunRow& run, const ExperimentConfig& config) {
  if (config.diagnostics == Diagnostics::kBasic) return true;
  const json keys = parse_json(run.config_json).value_or(json());
  return keys.is_object() &&
         keys.value("diagnostics", json()) == config::enum_name(Diagnostics::kFull);
}

void compare_executions(const ExecutionRow& was, const ExecutionRow& is,
                        std::vector<Difference>& out) {
  compare(out, "build", was.build, is.build);
  compare(out, "device", was.device, is.device);
  compare(out, "threads", std::to_string(was.threads), std::to_string(is.threads));
  compare(out, "dtype", was.dtype, is.dtype);
  compare(out, "processor", was.cpu, is.cpu);
}

// Whether the run's answers are of the device and the dtype that would compute them now. The
// configuration does not say: device=cuda is whatever GPU there is, and the same numbers are not
// to be had from another one. A new build, other threads or another processor do not count here:
// numerics (kNumericsVersion) changes wherever they are meant to.
Result<bool> same_device(const RunRow& run, const Job& job, Workbench& workbench,
                         const Store& store, const std::string& build) {
  ASSIGN_OR_RETURN(const std::vector<ExecutionRow> executions, store.executions_of(run.id));
  ASSIGN_OR_RETURN(const ExecutionRow now, execution_row(job.config, workbench, run.id, build));
  return std::any_of(executions.begin(), executions.end(), [&](const ExecutionRow& was) {
    return was.device == now.device && was.dtype == now.dtype;
  });
}

}  // namespace

json job_keys(const ExperimentConfig& config) {
  json keys = config::to_json(config);
  keys.erase("db");
  // Younger than recorded runs, whose hashes stay where it says nothing.
  if (!config.mixer.linear) keys["mixer"].erase("linear");
  if (config.model.branches.empty()) keys["model"].erase("branches");
  return keys;
}

std::string job_hash(const ExperimentConfig& config) {
  json keys = job_keys(config);
  keys.erase("diagnostics");
  return config::config_hash(keys);
}

std::string to_text(const std::vector<Difference>& differences) {
  std::string out;
  for (const Difference& difference : differences)
    out += fmt::format("{}  {}: {} → {}", out.empty() ? "" : "\n", difference.what, difference.was,
                       difference.is);
  return out;
}

Result<RunDifferences> differences(const RunRow& run, const Job& job, Workbench& workbench,
                                   const Store& store, const std::string& build) {
  RunDifferences found;
  RETURN_IF_ERROR(compare_inputs(run, job, workbench, store, found.inputs));
  ASSIGN_OR_RETURN(const std::vector<ExecutionRow> executions, store.executions_of(run.id));
  ASSIGN_OR_RETURN(const ExecutionRow now, execution_row(job.config, workbench, run.id, build));
  const bool known =
      std::any_of(executions.begin(), executions.end(),
                  [&](const ExecutionRow& execution) { return execution.id == now.id; });
  if (!known && !executions.empty()) compare_executions(executions[0], now, found.execution);
  return found;
}

Result<Recorded> find_recorded(const Job& job, Workbench& workbench, const Store& store,
                               const std::string& build) {
  Recorded recorded;
  ASSIGN_OR_RETURN(const std::vector<RunRow> runs, store.runs_of_config(job_hash(job.config)));
  for (const RunRow& run : runs) {
    if (!checked_enough(run, job.config)) continue;
    ASSIGN_OR_RETURN(const RunDifferences found, differences(run, job, workbench, store, build));
    if (!found.inputs.empty()) continue;
    if (run.status == RunStatus::kDone) {
      ASSIGN_OR_RETURN(const bool same, same_device(run, job, workbench, store, build));
      recorded.finished = recorded.finished || same;
    } else if (found.execution.empty()) {
      recorded.unfinished = run;
    }
  }
  return recorded;
}

Result<Job> recorded_job(const RunRow& run) {
  // What was recorded is JSON, which is YAML too: one set of rules for types and unknown keys.
  auto value = config::read_yaml(run.config_json,
                                 "run " + shown_id(run.id) + " (its recorded configuration)");
  if (!value) return fail(std::move(value).error());
  ASSIGN_OR_RETURN(ExperimentConfig bound, bind_experiment(*value));
  return Job{std::move(bound), *std::move(value), {}};
}

Result<Job> job_to_resume(const RunRow& run, const std::string& db, Workbench& workbench,
                          const Store& store, const std::string& build) {
  const std::string name = "run " + shown_id(run.id);
  ASSIGN_OR_RETURN(Job job, recorded_job(run));
  job.config.db = db;
  ASSIGN_OR_RETURN(const RunDifferences now, differences(run, job, workbench, store, build));
  std::vector<Difference> found = now.inputs;
  found.insert(found.end(), now.execution.begin(), now.execution.end());
  if (!found.empty())
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "it cannot be carried on: not what it was (recorded → now)\n{}",
                           to_text(found))
                    .at(name + " (" + run.label + ")")
                    .with_hint("the whole command without --resume begins a new run beside it"));
  return job;
}

}  // namespace strata
