#include "runner/training.h"

#include <nlohmann/json.hpp>
#include <set>

#include "core/rng.h"
#include "core/sha256.h"
#include "models/checkpoint/json_fields.h"
#include "models/convert/save_model.h"
#include "models/meter_json.h"
#include "models/training/adam.h"
#include "models/training/training_checkpoint.h"
#include "runner/convert.h"
#include "strategies/learned.h"
#include "strategies/registry.h"

namespace strata {
namespace {

constexpr std::string_view kMethod = "strata train";

// Every number that the trained weights depend on.
nlohmann::json recipe(const ExperimentConfig& config, const SelectionStrategy& strategy,
                      const TrainingRequest& request, const CalibrationSet& text) {
  nlohmann::json out = {{"method", kMethod},
                        {"strategy", config.strategy.to_json()},
                        {"label", strategy.label()},
                        {"group", strategy.group()},
                        {"steps", request.steps},
                        {"batch", request.batch},
                        {"weights", to_json(request.weights)},
                        {"seed", config.seed},
                        {"strategy_seed", config.strategy_seed()},
                        {"text", text.id},
                        {"window", config.mixer.window},
                        {"sinks", config.mixer.sinks},
                        {"decode_rule", to_string(config.decode_rule)},
                        {"dtype", config.dtype}};
  if (config.mixer.linear) out["linear"] = to_string(*config.mixer.linear);
  return out;
}

Result<nlohmann::json> train_under_mask(const ExperimentConfig& config,
                                        const TrainingRequest& request, const Mask& mask,
                                        const CalibrationSet& text, const nlohmann::json& identity,
                                        const std::filesystem::path& checkpoint,
                                        MeteredModel& model, WeightTrainer& trainer,
                                        Progress& progress) {
  const GateTraining training{.attention = {.granularity = mask.granularity(),
                                            .kept = FullAttention{},
                                            .cheap = config.cheap_mixer(),
                                            .rule = config.decode_rule},
                              .steps = request.steps,
                              .batch = request.batch,
                              .seed = derive_seed(config.seed, "training"),
                              .limits = pass_limits(model.model(), request.activation_mib),
                              .checkpoint = checkpoint,
                              .identity = sha256_hex(identity.dump()),
                              .seconds_between_checkpoints = request.checkpoint_seconds};
  FixedGates gates(mask);
  return train_weights(model, training_samples(text, LossTokens::kText), training, trainer, gates,
                       progress);
}

// strata.json of a model that strata made; null where there is none.
Result<nlohmann::json> origin_of(const std::filesystem::path& directory) {
  const std::filesystem::path file = directory / "strata.json";
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return nlohmann::json();
  constexpr std::uint64_t kLargest = std::uint64_t{64} << 20;
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(file, kLargest));
  Result<nlohmann::json> origin = json_fields::parse_object(text);
  if (!origin) return fail(std::move(origin).error().at(file.string()));
  return origin;
}

// The same of a hybrid that `strata convert` trained under its plan. (Which layers have a branch
// depends on the plan; each branch was trained by itself.)
nlohmann::json hybrid_training_of(const nlohmann::json& origin) {
  const auto field = [&](const std::string& place) -> nlohmann::json {
    const nlohmann::json::json_pointer pointer(place);
    return origin.contains(pointer) ? origin[pointer] : nlohmann::json();
  };
  nlohmann::json training = {{"parent", field("/parents/0")},
                             {"text", field("/transform/text/id")}};
  for (const char* key : {"label", "group", "supervision"})
    training[key] = field(std::string("/transform/selected/") + key);
  for (const char* key : {"stage1", "stage2", "stage3", "branch", "start", "seed", "dtype"})
    training[key] = field(std::string("/transform/") + key);
  std::int64_t steps = 0;
  for (const char* stage : {"stage3", "stage2"}) {
    const nlohmann::json& keys = training[stage];
    if (!keys.is_object()) continue;
    const Result<std::int64_t> own = count_of(keys, "steps");
    if (!own || *own == 0) continue;
    steps += *own;
    training["batch"] = keys.value("batch", nlohmann::json());
    training["weights"] = {{"rate", keys.value("rate", nlohmann::json())}};
  }
  training["steps"] = steps;
  return training;
}

}  // namespace

Result<TrainedModel> train_model(const ExperimentConfig& config, const TrainingRequest& request,
                                 Workbench& workbench, Progress& progress) {
  RETURN_IF_ERROR(check_free_for_model(request.directory));
  RETURN_IF_ERROR(check_weight_training(config.cheap_mixer()));
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const Task* task, workbench.task(config));
  const CalibrationSet& text = task->calibration;
  std::filesystem::path state = request.directory;
  state += ".training";
  WeightTrainer trainer(*model, request.weights);
  ASSIGN_OR_RETURN(const SelectedPlan selected,
                   run_selection(config, workbench, progress, state / "selection.json", &trainer));
  if (selected.selection.plan)
    return fail(ErrorKind::kUnsupported,
                "strategy {} names its own mixers; weights are trained under a mask and mixer=",
                config.strategy_name());
  if (request.steps == 0 && trainer.steps() == 0)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "no step to train: --steps is 0 and strategy {} trains no weights",
                           config.strategy_name())
                    .with_hint("--steps N, or strategy=consa strategy.train_weights=true"));
  ASSIGN_OR_RETURN(const std::unique_ptr<SelectionStrategy> strategy,
                   make_strategy(config.strategy));
  nlohmann::json origin = recipe(config, *strategy, request, text);
  origin["strategy_steps"] = trainer.steps();
  origin["plan"] = selected.plan.to_json();
  origin["supervision"] = selected.supervision;
  Meter cost = selected.cost;
  if (request.steps > 0) {
    nlohmann::json identity = origin;
    identity["parent"] = model->id();
    identity["numerics"] = kNumericsVersion;
    MeteredModel metered(*model, run_limits(config), sample_workers(config));
    ASSIGN_OR_RETURN(origin["training"],
                     train_under_mask(config, request, selected.selection.mask, text, identity,
                                      state / "weights.json", metered, trainer, progress));
    cost += metered.meter();
  }
  origin["selection"] = {{"training", selected.selection.training},
                         {"diagnostics", selected.selection.diagnostics}};
  origin["cost"] = to_json(cost);
  for (const Sample& sample : text.samples) {
    origin["samples"].push_back(sample.id);
    for (const auto& id : sample.metadata.value("session_ids", nlohmann::json::array()))
      origin["session_ids"].push_back(id);
  }
  ASSIGN_OR_RETURN(std::string id, trainer.save_model(origin, request.directory));
  remove_checkpoints({state / "selection.json", state / "weights.json"});
  return TrainedModel{std::move(id), std::move(origin)};
}

Result<nlohmann::json> training_of(const std::filesystem::path& directory,
                                   const AttentionPlan& plan) {
  ASSIGN_OR_RETURN(const nlohmann::json origin, origin_of(directory));
  const auto field = [&](const char* place) -> nlohmann::json {
    const nlohmann::json::json_pointer pointer(place);
    return origin.contains(pointer) ? origin[pointer] : nlohmann::json();
  };
  const auto steps = [&](const char* place) {
    const nlohmann::json count = field(place);
    return count.is_number_unsigned() ? count.get<std::uint64_t>() : 0;
  };
  if (field("/transform/plan/id") != plan.id()) return nlohmann::json();
  if (field("/transform/method") == kConvertMethod) return hybrid_training_of(origin);
  if (field("/transform/method") != kMethod) return nlohmann::json();
  const std::uint64_t own = steps("/transform/strategy_steps");
  nlohmann::json training = {{"parent", field("/parents/0")},
                             {"steps", own + steps("/transform/steps")}};
  for (const char* key : {"label", "group", "supervision", "batch", "weights", "seed", "text",
                          "window", "sinks", "decode_rule", "dtype"})
    training[key] = field((std::string("/transform/") + key).c_str());
  // As many prompts a step in both stages is the rule, and not worth a word.
  const nlohmann::json own_batch = field("/transform/strategy/training/batch");
  if (own > 0 && own_batch != training["batch"]) training["strategy_batch"] = own_batch;
  return training;
}

Status check_not_trained_on(const std::filesystem::path& directory,
                            const std::vector<Sample>& samples) {
  const std::filesystem::path file = directory / "strata.json";
  ASSIGN_OR_RETURN(const nlohmann::json origin, origin_of(directory));
  const auto ids_at = [&](std::initializer_list<const char*> places) {
    std::set<std::string> ids;
    for (const char* place : places) {
      const nlohmann::json::json_pointer pointer(place);
      if (!origin.contains(pointer) || !origin[pointer].is_array()) continue;
      for (const nlohmann::json& id : origin[pointer])
        if (id.is_string()) ids.insert(id.get<std::string>());
    }
    return ids;
  };
  const auto trained_on = [&](std::string what) {
    return fail(make_error(ErrorKind::kInvalidArgument, "the model was trained on {}", what)
                    .at(file.string())
                    .with_hint("train on other text, or evaluate other samples"));
  };
  const std::set<std::string> seen = ids_at({"/transform/samples"});
  // Of `strata convert`, and of `strata train`.
  const std::set<std::string> sessions =
      ids_at({"/transform/text/session_ids", "/transform/session_ids"});
  for (const Sample& sample : samples) {
    if (seen.contains(sample.id))
      return trained_on(fmt::format("evaluated sample {:.12}", sample.id));
    if (sessions.empty()) continue;
    for (const auto& id : sample.metadata.value("session_ids", std::vector<std::string>{}))
      if (sessions.contains(id))
        return trained_on(
            fmt::format("chat session {:.12}, which evaluated sample {:.12} holds", id, sample.id));
  }
  return {};
}

}  // namespace strata
