#include "runner/experiment.h"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/check.h"
#include "core/json_reader.h"
#include "models/cost.h"
#include "models/training/training_checkpoint.h"
#include "runner/evaluation.h"
#include "runner/recorded.h"
#include "runner/training.h"
#include "runner/utc_now.h"
#include "strategies/registry.h"

namespace strata {
namespace {

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown";
}

nlohmann::json generation_spec(const ExperimentConfig& config, const Task& task,
                               const Tokenizer& tokenizer) {
  std::int64_t limit = 0;
  for (const Sample& sample : task.samples)
    limit = std::max(limit, task.benchmark->generation_limit(sample));
  nlohmann::json spec = {{"decode", "greedy"},
                         {"dtype", config.dtype},
                         {"limit", limit},
                         {"chat_template", config.model.chat_template}};
  if (limit > 0) spec["stop"] = tokenizer.eos();
  return spec;
}

Status record_inputs(const ExperimentConfig& config, const Task& task, const TextTools& text,
                     const Model& model, const AttentionPlan& plan, Store& store) {
  RETURN_IF_ERROR(store.record(ModelRow{model.id(), config.model.name, config.model.path,
                                        model.layout(), model.parameters()}));
  RETURN_IF_ERROR(store.record(TokenizerRow{text.tokenizer.id(), config.model.name}));
  RETURN_IF_ERROR(store.record(PlanRow{plan.id(), plan.to_json().dump()}));
  DataRow data{content_id(task.samples), config.benchmark_name(), {}};
  std::vector<SampleRow> rows;
  for (const Sample& sample : task.samples) {
    data.items.push_back({sample.id, sample.cluster});
    rows.push_back({sample.id, config.benchmark_name(), sample.prompt_text,
                    static_cast<std::int64_t>(sample.prompt.size()), sample.answers,
                    sample.metadata.dump()});
  }
  RETURN_IF_ERROR(store.record(data, rows));
  return {};
}

SelectionRow selection_row(const ExperimentConfig& config, const SelectedPlan& selected,
                           const Model& model, const Task& task) {
  const nlohmann::json json = selection_json(config, selected, model.id());
  return {.id = "",
          .strategy = config.strategy_name(),
          .config_json = config.strategy.to_json().dump(),
          .model_id = model.id(),
          .plan_id = selected.plan.id(),
          .mask_json = json["mask"].dump(),
          .scores_json = json["scores"].dump(),
          .standard_errors_json = json["standard_errors"].dump(),
          .cost = {.forward_tokens = selected.cost.forward_tokens,
                   .layer_tokens = selected.cost.layer_tokens,
                   .backward_tokens = selected.cost.backward_tokens,
                   .flops = selected.cost.flops,
                   .evaluations = selected.cost.evaluations,
                   .seconds = selected.cost.seconds,
                   .peak_bytes = static_cast<std::int64_t>(selected.cost.peak_bytes)},
          .supervision = selected.supervision,
          .calibration_id = selected.supervision == "none" ? "" : task.calibration.id,
          .seed = static_cast<std::int64_t>(config.strategy_seed()),
          .diagnostics_json = selected.selection.diagnostics.dump(),
          .training_json = selected.selection.training.dump()};
}

// Mean answer NLL of a plan on the calibration prompts: no look at the test.
Result<double> calibration_nll(const ExperimentConfig& config, Workbench& workbench,
                               const Task& task, const TextTools& text, const Model& model,
                               const AttentionPlan& plan, const Progress& progress) {
  const std::vector<Sample>& samples = task.calibration.samples;
  std::vector<double> nll(samples.size());
  Evaluation evaluation(config, workbench, *task.benchmark, samples, text, model, plan,
                        Generate::kNo);
  RETURN_IF_ERROR(
      evaluation.run(progress, std::vector<bool>(samples.size(), false),
                     [&](std::size_t first, std::span<const Evaluated> results) -> Status {
                       for (std::size_t i = 0; i < results.size(); ++i)
                         nll[first + i] = results[i].answer.mean_nll();
                       return {};
                     }));
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

// 0 and 0 where there is no window.
void set_window(const MixerSpec& mixer, RunRow& run) {
  const auto* sliding = std::get_if<SlidingWindow>(&mixer);
  run.window = sliding == nullptr ? 0 : sliding->window;
  run.sinks = sliding == nullptr ? 0 : sliding->sinks;
}

RunRow new_run(const Job& job, const SelectionStrategy& strategy) {
  const ExperimentConfig& config = job.config;
  RunRow run;
  run.config_json = job_keys(config).dump();
  run.config_hash = job_hash(config);
  run.started = utc_now();
  run.strategy = config.strategy_name();
  run.label = strategy.label();
  run.group = strategy.group();
  run.granularity = config.granularity;
  run.decode_rule = config.decode_rule;
  set_window(config.cheap_mixer(), run);
  run.benchmark = config.benchmark_name();
  run.benchmark_config_json = config.benchmark.to_json().dump();
  run.seeds_json = nlohmann::json{{"seed", config.seed},
                                  {"benchmark", config.benchmark_seed()},
                                  {"calibration", config.calibration_seed()},
                                  {"strategy", config.strategy_seed()}}
                       .dump();
  return run;
}

// A strategy that names its mixers itself is recorded with the smallest window among them, or none
// where there is but linear attention.
void note_own_mixers(const SelectedPlan& selected, RunRow& run) {
  if (!selected.selection.plan) return;
  const PaletteEntry* smallest = nullptr;
  for (const PaletteEntry& entry : selected.plan.palette()) {
    if (std::holds_alternative<FullAttention>(entry.mixer)) continue;
    const auto width = [](const PaletteEntry& of) {
      const auto* sliding = std::get_if<SlidingWindow>(&of.mixer);
      return sliding == nullptr ? std::numeric_limits<std::int64_t>::max() : sliding->window;
    };
    if (smallest == nullptr || width(entry) < width(*smallest)) smallest = &entry;
  }
  if (smallest == nullptr) return;
  run.decode_rule = smallest->rule;
  set_window(smallest->mixer, run);
}

std::filesystem::path checkpoint_of(const ExperimentConfig& config, const RunRow& run) {
  return config.db + "-training/" + run.id.substr(0, 16) + ".json";
}

// Selects, or recalls what the run has selected before it was stopped.
Result<AttentionPlan> plan_of(const Job& job, RunRow& run, Workbench& workbench, Store& store,
                              Progress& progress) {
  const ExperimentConfig& config = job.config;
  if (run.selection_id && run.experiment_id) {
    ASSIGN_OR_RETURN(const ExperimentRow experiment, store.experiment(*run.experiment_id));
    ASSIGN_OR_RETURN(const PlanRow plan, store.plan(experiment.plan_id));
    return parse_plan(plan);
  }
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const TextTools* text, workbench.text(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  const std::filesystem::path checkpoint = checkpoint_of(config, run);
  ASSIGN_OR_RETURN(SelectedPlan selected, run_selection(config, workbench, progress, checkpoint));
  ASSIGN_OR_RETURN(nlohmann::json training, training_of(config.model.path, selected.plan));
  if (!training.is_null()) selected.selection.diagnostics["trained"] = std::move(training);
  RETURN_IF_ERROR(record_inputs(config, *task, *text, *model, selected.plan, store));
  ASSIGN_OR_RETURN(ExperimentRow experiment, experiment_row(config, workbench, selected.plan.id()));
  ASSIGN_OR_RETURN(run.experiment_id, store.record(std::move(experiment)));
  note_own_mixers(selected, run);
  // Periodic-best is chosen by it; for a selector it is what its set is worth on what it saw.
  if (run.group == "periodic" || selected.supervision != "none") {
    ASSIGN_OR_RETURN(run.calibration_nll, calibration_nll(config, workbench, *task, *text, *model,
                                                          selected.plan, progress));
  }
  const std::optional<UnitScores>& scores = selected.selection.scores;
  RETURN_IF_ERROR(store.record(selection_row(config, selected, *model, *task),
                               scores ? scores->tensor.get() : nullptr, run));
  // The selection is durable: what its training needed to go on is not needed any more.
  remove_checkpoints({checkpoint});
  return selected.plan;
}

ResponseRow response_row(const Task& task, const Model& model, const AttentionPlan& plan,
                         const Sample& sample, const Evaluated& result) {
  const auto prompt = static_cast<std::int64_t>(sample.prompt.size());
  const auto generated = static_cast<std::int64_t>(result.response.tokens.size());
  std::map<std::string, double> timings_ms = {{"prefill_ms", result.prefill_ms}};
  if (result.response.text) timings_ms["decode_ms"] = result.decode_ms;
  return {.experiment_id = {},
          .sample_id = sample.id,
          .execution_id = {},
          .text = result.response.text.value_or(""),
          .tokens = result.response.tokens,
          .answer_nll = result.answer.nll,
          .argmax = result.answer.argmax,
          .metrics = task.benchmark->score(sample, result.response),
          .timings_ms = std::move(timings_ms),
          .prefill_flops = prefill_flops(plan, model.shape(), prompt).total(),
          .decode_flops = decode_flops(plan, model.shape(), prompt, generated).total(),
          .kv_bytes = static_cast<std::int64_t>(result.kv_bytes),
          .peak_bytes = static_cast<std::int64_t>(result.peak_bytes)};
}

// Everything after the run's row is there; what fails here is written into that row by run_job.
Status carry_out(const Job& job, RunRow& run, Workbench& workbench, Store& store,
                 const std::string& build, Progress& progress, RunOutcome& outcome) {
  const ExperimentConfig& config = job.config;
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const TextTools* text, workbench.text(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  ASSIGN_OR_RETURN(const AttentionPlan plan, plan_of(job, run, workbench, store, progress));
  ASSIGN_OR_RETURN(ExecutionRow execution, execution_row(config, workbench, run.id, build));
  ASSIGN_OR_RETURN(const std::string execution_id, store.record(execution));
  ASSIGN_OR_RETURN(const std::set<std::string> answered,
                   store.answered(*run.experiment_id, execution));
  std::vector<bool> known;
  for (const Sample& sample : task->samples) known.push_back(answered.contains(sample.id));
  outcome.samples = known.size();
  outcome.notices = task->notices;
  outcome.answered_before = answered.size();
  progress.begin(run.label, static_cast<std::int64_t>(known.size() - answered.size()));
  Evaluation evaluation(config, workbench, *task->benchmark, task->samples, *text, *model, plan,
                        Generate::kYes);
  Status status = evaluation.run(
      progress, known, [&](std::size_t first, std::span<const Evaluated> results) -> Status {
        std::int64_t recorded = 0;
        for (std::size_t i = 0; i < results.size(); ++i) {
          if (known[first + i]) continue;
          ResponseRow row = response_row(*task, *model, plan, task->samples[first + i], results[i]);
          row.experiment_id = *run.experiment_id;
          row.execution_id = execution_id;
          RETURN_IF_ERROR(store.record(row));
          ++recorded;
        }
        // A batch at once: the time left would be estimated from its first sample else.
        progress.advance(recorded);
        return {};
      });
  progress.end();
  return status;
}

Result<std::vector<std::string>> signs_of(const RunRow& run, const Store& store) {
  ASSIGN_OR_RETURN(const SelectionRow selection, store.selection(*run.selection_id));
  ASSIGN_OR_RETURN(const nlohmann::json diagnostics, parse_json(selection.diagnostics_json));
  return signs_in(diagnostics);
}

Result<RunRow> begin_run(const Job& job, Workbench& workbench, Store& store) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SelectionStrategy> strategy,
                   make_strategy(job.config.strategy));
  // What cannot work fails before anything is written.
  ASSIGN_OR_RETURN(const Model* model, workbench.model(job.config));
  RETURN_IF_ERROR(check_mixers(job.config, *strategy, *model));
  RunRow run = new_run(job, *strategy);
  if (strategy->uses_budget()) {
    ASSIGN_OR_RETURN(
        const std::size_t units,
        units_to_keep(job.config.core_budget(), model->layout(), job.config.granularity));
    run.budget_units = static_cast<std::int64_t>(units);
    if (!job.config.budget.units) run.budget_fraction = job.config.budget.fraction;
  }
  RETURN_IF_ERROR(workbench.task(job.config));
  ASSIGN_OR_RETURN(run.id, store.record(run));
  return run;
}

}  // namespace

Result<ExperimentRow> experiment_row(const ExperimentConfig& config, Workbench& workbench,
                                     const std::string& plan_id) {
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const TextTools* text, workbench.text(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  ExperimentRow row{.id = "",
                    .model_id = model->id(),
                    .tokenizer_id = text->tokenizer.id(),
                    .plan_id = plan_id,
                    .generation_json = generation_spec(config, *task, text->tokenizer).dump(),
                    .data_id = content_id(task->samples),
                    .numerics_version = kNumericsVersion};
  row.id = experiment_id(row);
  return row;
}

Result<ExecutionRow> execution_row(const ExperimentConfig& config, Workbench& workbench,
                                   const std::string& run_id, const std::string& build) {
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ExecutionRow row{.id = "",
                   .run_id = run_id,
                   .build = build,
                   .device = model->device_name(),
                   .threads = worker_threads(config),
                   .dtype = config.dtype,
                   .cpu = cpu_model()};
  row.id = execution_id(row);
  return row;
}

Result<RunOutcome> run_job(const Job& job, const std::optional<RunRow>& earlier,
                           Workbench& workbench, Store& store, const std::string& build,
                           Progress& progress) {
  RunRow run;
  if (earlier) {
    run = *earlier;
    run.finished.clear();
    run.error.clear();
    run.status = RunStatus::kRunning;
    RETURN_IF_ERROR(store.update(run));
  } else {
    ASSIGN_OR_RETURN(run, begin_run(job, workbench, store));
  }
  RunOutcome outcome{.run_id = run.id, .label = run.label};
  const Status status = carry_out(job, run, workbench, store, build, progress, outcome);
  run.finished = utc_now();
  run.status = RunStatus::kDone;
  if (!status) {
    run.status = status.error().kind == ErrorKind::kInterrupted ? RunStatus::kInterrupted
                                                                : RunStatus::kFailed;
    run.error = status.error().text();
  }
  const Status closed = store.update(run);
  if (!status)
    return fail(Error(status.error()).at("run " + run.id.substr(0, 12) + " (" + run.label + ")"));
  RETURN_IF_ERROR(closed);
  ASSIGN_OR_RETURN(outcome.signs, signs_of(run, store));
  return outcome;
}

}  // namespace strata
