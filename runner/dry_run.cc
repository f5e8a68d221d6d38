#include "runner/dry_run.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/plan.h"
#include "models/checkpoint/hf_config.h"
#include "runner/plan_file.h"
#include "runner/samples.h"
#include "strategies/config_registry.h"

namespace strata {
namespace {

bool uses_budget(const ExperimentConfig& config) {
  for (const StrategyInfo& info : strategy_infos())
    if (info.name == config.strategy_name()) return info.uses_budget;
  return true;
}

// strategy=file: that there is a plan, and that it is one for the model.
Status check_plan_file(const ExperimentConfig& config, const HeadLayout& layout) {
  const config::Value* path = config.strategy.find("path");
  if (config.strategy_name() != "file" || path == nullptr || path->if_string() == nullptr)
    return {};
  ASSIGN_OR_RETURN(const nlohmann::json json, read_plan_json(*path->if_string()));
  if (!json.contains("cells")) return {};  // a mask
  if (auto plan = AttentionPlan::from_json(json, layout); !plan)
    return fail(std::move(plan).error().at(*path->if_string()));
  return {};
}

// Jobs of a sweep share most of what is checked.
class Checker {
 public:
  Status check(const ExperimentConfig& config) {
    ASSIGN_OR_RETURN(const Architecture architecture,
                     load_architecture(std::filesystem::path(config.model.path) / "config.json"));
    if (uses_budget(config))
      RETURN_IF_ERROR(
          units_to_keep(config.core_budget(), architecture.layout(), config.granularity));
    if (Status status = check_plan_file(config, architecture.layout()); !status)
      return fail(std::move(status).error().at("strategy file"));
    if (!drawn_.insert(task_key(config)).second) return {};
    ASSIGN_OR_RETURN(const TextTools* text, text_of(config.model));
    RETURN_IF_ERROR(draw_task(config, *text, architecture.max_positions));
    return {};
  }

 private:
  Result<const TextTools*> text_of(const ModelConfig& model) {
    const std::string key = model.path + "|" + model.chat_template;
    auto found = texts_.find(key);
    if (found == texts_.end()) {
      ASSIGN_OR_RETURN(TextTools text, load_text_tools(model));
      found = texts_.emplace(key, std::move(text)).first;
    }
    return &found->second;
  }

  std::map<std::string, TextTools> texts_;
  std::set<std::string> drawn_;
};

}  // namespace

Status check_without_weights(std::span<const Job> jobs) {
  Checker checker;
  for (const Job& job : jobs) RETURN_IF_ERROR(checker.check(job.config));
  return {};
}

}  // namespace strata
