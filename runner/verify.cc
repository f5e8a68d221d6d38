#include "runner/verify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "core/json_reader.h"
#include "core/rng.h"
#include "results/reports/picked_responses.h"
#include "runner/evaluation.h"
#include "runner/experiment.h"
#include "runner/plan_file.h"
#include "runner/recorded.h"

namespace strata {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

struct RecordedExperiment {
  RunRow run;
  ExperimentRow experiment;
};

// What runs recorded under a plan, latest first.
Result<std::vector<RecordedExperiment>> experiments_of(const Store& store,
                                                       const AttentionPlan& plan) {
  ASSIGN_OR_RETURN(std::vector<RunRow> runs, store.runs());
  std::vector<RecordedExperiment> found;
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    if (!run->experiment_id) continue;
    ASSIGN_OR_RETURN(ExperimentRow experiment, store.experiment(*run->experiment_id));
    if (experiment.plan_id == plan.id()) found.push_back({std::move(*run), std::move(experiment)});
  }
  if (found.empty())
    return fail(make_error(ErrorKind::kNotFound, "no run of plan {:.12} is recorded", plan.id())
                    .at(store.path())
                    .with_hint("strata run strategy=file strategy.path=PLAN records answers under "
                               "a plan; another window, sinks or decode rule is another plan"));
  return found;
}

struct Stored {
  RecordedExperiment of;
  std::vector<ResponseRow> responses;  // to samples that the job draws
};

Error none_fits(const std::vector<RecordedExperiment>& recorded, const ExperimentRow& now,
                const Store& store) {
  const RecordedExperiment& latest = recorded[0];
  std::string differs;
  const auto compare = [&](const char* what, const std::string& was, const std::string& is) {
    if (was != is) differs += fmt::format("\n  {}: {:.12} → {:.12}", what, was, is);
  };
  compare("model", latest.experiment.model_id, now.model_id);
  compare("tokenizer", latest.experiment.tokenizer_id, now.tokenizer_id);
  compare("samples", latest.experiment.data_id, now.data_id);
  if (differs.empty()) differs = "\n  no answer is stored";
  return make_error(ErrorKind::kNotFound,
                    "no stored sample fits: of {} recorded run{} of the plan none has answers of "
                    "this model to these samples (run {:.12}, recorded → now){}",
                    recorded.size(), recorded.size() == 1 ? "" : "s", latest.run.id, differs)
      .at(store.path())
      .with_hint(
          "give the model and the benchmark as the run had them, or db= alone, which takes "
          "the recorded configuration");
}

// The answers to verify, of the experiment itself where it is recorded; else of the latest with the
// same model, tokenizer and plan (recorded with another dtype, numerics or number of samples).
Result<Stored> stored_answers(const std::vector<Sample>& samples, const ExperimentRow& now,
                              const std::vector<RecordedExperiment>& recorded, const Store& store) {
  std::vector<const RecordedExperiment*> fitting;
  for (const RecordedExperiment& one : recorded)
    if (one.experiment.model_id == now.model_id && one.experiment.tokenizer_id == now.tokenizer_id)
      fitting.push_back(&one);
  std::stable_partition(fitting.begin(), fitting.end(),
                        [&](const auto* one) { return one->experiment.id == now.id; });
  ASSIGN_OR_RETURN(const Executions executions, all_executions(store));
  for (const RecordedExperiment* one : fitting) {
    ASSIGN_OR_RETURN(const DataRow data, store.data(one->experiment.data_id));
    ASSIGN_OR_RETURN(const PickedResponses picked,
                     pick_responses(store, executions, one->experiment, data));
    Stored stored{*one, {}};
    for (const ResponseRow& response : picked.responses)
      if (std::any_of(samples.begin(), samples.end(),
                      [&](const Sample& sample) { return sample.id == response.sample_id; }))
        stored.responses.push_back(response);
    if (!stored.responses.empty()) return stored;
  }
  return fail(none_fits(recorded, now, store));
}

// How many tokens the recorded run may have generated at least. A batch generates as many as its
// most demanding sample asks for, so what follows a sample's own limit depends on its neighbours.
std::size_t comparable_tokens(const ExperimentRow& was, std::int64_t own_limit) {
  const nlohmann::json generation = parse_json(was.generation_json).value_or(nlohmann::json());
  if (generation.is_object() && generation.contains("limit") &&
      generation["limit"].is_number_integer())
    own_limit = std::min(own_limit, generation["limit"].get<std::int64_t>());
  return static_cast<std::size_t>(std::max<std::int64_t>(own_limit, 0));
}

SampleDrift drift_of(const ResponseRow& was, const Evaluated& is, const Tokenizer& tokenizer,
                     std::size_t comparable) {
  SampleDrift drift{.id = was.sample_id};
  const auto mean = [](const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return values.empty() ? 0 : sum / static_cast<double>(values.size());
  };
  drift.was = mean(was.answer_nll);
  drift.is = mean(is.answer.nll);
  drift.positions = is.answer.nll.size();
  if (was.answer_nll.size() != drift.positions)
    drift.largest = kInfinite;
  else
    for (std::size_t i = 0; i < drift.positions; ++i) {
      const double here = std::abs(is.answer.nll[i] - was.answer_nll[i]);
      // A NaN would compare as no drift.
      drift.largest = std::max(drift.largest, std::isnan(here) ? kInfinite : here);
    }
  for (std::size_t i = 0; i < drift.positions; ++i)
    if (i >= was.argmax.size() || was.argmax[i] != is.answer.argmax[i]) ++drift.changed_argmax;
  if (was.argmax.size() > drift.positions)
    drift.changed_argmax += was.argmax.size() - drift.positions;
  const auto first = [&](Tokens tokens) {
    tokens.resize(std::min(tokens.size(), comparable));
    return tokens;
  };
  drift.changed_text =
      first(was.tokens) != first(is.response.tokens) ||
      (is.response.text && tokenizer.decode_text(was.tokens, /*skip_special=*/true) != was.text);
  return drift;
}

}  // namespace

double Verification::largest() const {
  double most = 0;
  for (const SampleDrift& sample : samples) most = std::max(most, sample.largest);
  return most;
}

double Verification::mean() const {
  double sum = 0;
  for (const SampleDrift& sample : samples) sum += std::abs(sample.is - sample.was);
  return samples.empty() ? 0 : sum / static_cast<double>(samples.size());
}

std::size_t Verification::beyond(double tolerance) const {
  return static_cast<std::size_t>(
      std::count_if(samples.begin(), samples.end(),
                    [&](const SampleDrift& sample) { return sample.largest > tolerance; }));
}

std::size_t Verification::changed() const {
  return static_cast<std::size_t>(std::count_if(
      samples.begin(), samples.end(), [](const SampleDrift& sample) { return sample.changed(); }));
}

Result<AttentionPlan> read_plan_file(const std::string& path) {
  ASSIGN_OR_RETURN(const nlohmann::json json, read_plan_json(path));
  Result<AttentionPlan> plan = parse_plan(PlanRow{.id = "file", .plan_json = json.dump()});
  if (!plan) return fail(std::move(plan).error().at(path));
  return plan;
}

Result<std::optional<ExperimentConfig>> recorded_config(const Store& store,
                                                        const AttentionPlan& plan, const Job& given,
                                                        const std::vector<std::string>& overrides) {
  using Take = void (*)(ExperimentConfig&, const ExperimentConfig&);
  static const std::map<std::string, Take> kWhereAndHow = {
      {"db", [](auto& to, const auto& from) { to.db = from.db; }},
      {"device", [](auto& to, const auto& from) { to.device = from.device; }},
      {"dtype", [](auto& to, const auto& from) { to.dtype = from.dtype; }},
      {"threads", [](auto& to, const auto& from) { to.threads = from.threads; }},
      {"batch", [](auto& to, const auto& from) { to.batch = from.batch; }},
      {"data", [](auto& to, const auto& from) { to.data = from.data; }},
      {"model.path", [](auto& to, const auto& from) { to.model.path = from.model.path; }},
      {"model.branches",
       [](auto& to, const auto& from) { to.model.branches = from.model.branches; }}};
  std::vector<Take> takes;
  for (const std::string& word : overrides) {
    const auto known = kWhereAndHow.find(word.substr(0, word.find('=')));
    if (known == kWhereAndHow.end()) return std::optional<ExperimentConfig>();
    takes.push_back(known->second);
  }
  ASSIGN_OR_RETURN(const std::vector<RecordedExperiment> recorded, experiments_of(store, plan));
  const auto done = std::find_if(recorded.begin(), recorded.end(), [](const auto& one) {
    return one.run.status == RunStatus::kDone;
  });
  ASSIGN_OR_RETURN(Job job, recorded_job(done == recorded.end() ? recorded[0].run : done->run));
  for (const Take take : takes) take(job.config, given.config);
  return std::optional(std::move(job.config));
}

Result<Verification> verify(const ExperimentConfig& config, const AttentionPlan& plan,
                            const VerifyRequest& request, Workbench& workbench, const Store& store,
                            const std::string& build, Progress& progress) {
  // Before the model is loaded: a plan that nothing is recorded of.
  ASSIGN_OR_RETURN(const std::vector<RecordedExperiment> recorded, experiments_of(store, plan));
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const TextTools* text, workbench.text(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  Verification out;
  ASSIGN_OR_RETURN(out.is, experiment_row(config, workbench, plan.id()));
  ASSIGN_OR_RETURN(Stored stored, stored_answers(task->samples, out.is, recorded, store));
  RETURN_IF_ERROR(model->check_mixers(plan));
  out.run = std::move(stored.of.run);
  out.was = std::move(stored.of.experiment);
  out.stored = stored.responses.size();
  ASSIGN_OR_RETURN(out.now, execution_row(config, workbench, out.run.id, build));

  std::vector<std::size_t> drawn =
      Rng(request.seed, "verify").sample(out.stored, std::min(out.stored, request.samples));
  std::sort(drawn.begin(), drawn.end());
  std::vector<const ResponseRow*> answers;
  std::vector<Sample> samples;
  for (const std::size_t at : drawn) {
    const ResponseRow& answer = stored.responses[at];
    answers.push_back(&answer);
    samples.push_back(
        *std::find_if(task->samples.begin(), task->samples.end(),
                      [&](const Sample& sample) { return sample.id == answer.sample_id; }));
    if (std::none_of(out.recorded.begin(), out.recorded.end(),
                     [&](const ExecutionRow& known) { return known.id == answer.execution_id; })) {
      ASSIGN_OR_RETURN(ExecutionRow execution, store.execution(answer.execution_id));
      out.recorded.push_back(std::move(execution));
    }
  }

  progress.begin("verify", static_cast<std::int64_t>(samples.size()));
  Evaluation evaluation(config, workbench, *task->benchmark, samples, *text, *model, plan,
                        Generate::kYes);
  out.samples.resize(samples.size());
  const Status status = evaluation.run(
      progress, std::vector<bool>(samples.size(), false),
      [&](std::size_t first, std::span<const Evaluated> results) -> Status {
        for (std::size_t i = 0; i < results.size(); ++i)
          out.samples[first + i] = drift_of(
              *answers[first + i], results[i], text->tokenizer,
              comparable_tokens(out.was, task->benchmark->generation_limit(samples[first + i])));
        progress.advance(static_cast<std::int64_t>(results.size()));
        return {};
      });
  progress.end();
  RETURN_IF_ERROR(status);
  return out;
}

}  // namespace strata
