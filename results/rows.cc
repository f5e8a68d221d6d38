#include "results/rows.h"

#include <array>
#include <nlohmann/json.hpp>

#include "core/plan.h"
#include "core/sha256.h"
#include "results/json_text.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<RunStatus, std::string_view>, 4> kStatusNames = {
    {{RunStatus::kRunning, "running"},
     {RunStatus::kDone, "done"},
     {RunStatus::kFailed, "failed"},
     {RunStatus::kInterrupted, "interrupted"}}};

// Far above any model; keeps arithmetic on a foreign plan's layout in range.
constexpr int kMaxLayoutCount = 4096;

// Text that is no JSON is refused when the row is recorded; until then its id is that of the raw
// text.
json embedded(const std::string& text) {
  json value = json::parse(text.empty() ? "{}" : text, nullptr, false);
  return value.is_discarded() ? json(text) : value;
}

// nlohmann's default object keeps its keys sorted, so the dump is canonical.
std::string id_of(const json& content) {
  return sha256_hex(content.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace

std::string_view to_string(RunStatus status) {
  for (const auto& [value, name] : kStatusNames)
    if (value == status) return name;
  return "running";
}

Result<RunStatus> parse_run_status(std::string_view text) {
  for (const auto& [value, name] : kStatusNames)
    if (name == text) return value;
  return fail(ErrorKind::kInvalidFile,
              "run status: expected running, done, failed or interrupted, got '{}'", text);
}

Result<AttentionPlan> parse_plan(const PlanRow& row) {
  const json plan = json::parse(row.plan_json, nullptr, false);
  HeadLayout layout;
  try {
    const json& heads = plan.at("layout");
    layout = {heads.at("layers").get<int>(), heads.at("query_heads").get<int>(),
              heads.at("kv_heads").get<int>()};
  } catch (const json::exception&) {
    return fail(ErrorKind::kInvalidFile, "plan {}: expected the JSON of a plan with a layout",
                row.id);
  }
  const auto sane = [](int count) { return count >= 1 && count <= kMaxLayoutCount; };
  if (!sane(layout.layers) || !sane(layout.query_heads) || !sane(layout.kv_heads) ||
      layout.query_heads % layout.kv_heads != 0)
    return fail(
        ErrorKind::kInvalidFile,
        "plan {}: expected counts of 1 to {} and query heads in groups, got {} layers, {} query "
        "heads, {} KV heads",
        row.id, kMaxLayoutCount, layout.layers, layout.query_heads, layout.kv_heads);
  return AttentionPlan::from_json(plan, layout);
}

std::string data_id(const DataRow& data) {
  Sha256 hash;
  for (const DataRow::Item& item : data.items) hash.update(item.sample_id);
  return hash.hex_digest();
}

std::string experiment_id(const ExperimentRow& experiment) {
  return id_of({{"model", experiment.model_id},
                {"tokenizer", experiment.tokenizer_id},
                {"plan", experiment.plan_id},
                {"generation", embedded(experiment.generation_json)},
                {"data", experiment.data_id},
                {"numerics_version", experiment.numerics_version}});
}

std::string selection_id(const SelectionRow& selection) {
  const SelectionCost& cost = selection.cost;
  return id_of({{"strategy", selection.strategy},
                {"config", embedded(selection.config_json)},
                {"model", selection.model_id},
                {"plan", selection.plan_id},
                {"mask", embedded(selection.mask_json)},
                {"scores", embedded(selection.scores_json)},
                {"standard_errors", embedded(selection.standard_errors_json)},
                {"cost",
                 {{"forward_tokens", cost.forward_tokens},
                  {"layer_tokens", cost.layer_tokens},
                  {"flops", cost.flops},
                  {"evaluations", cost.evaluations},
                  {"seconds", cost.seconds},
                  {"peak_bytes", cost.peak_bytes}}},
                {"supervision", selection.supervision},
                {"calibration", selection.calibration_id},
                {"seed", selection.seed},
                {"diagnostics", embedded(selection.diagnostics_json)}});
}

std::string run_id(const RunRow& run) {
  return id_of({{"config_hash", run.config_hash},
                {"config", embedded(run.config_json)},
                {"label", run.label},
                {"started", run.started}});
}

std::string execution_id(const ExecutionRow& execution) {
  return id_of({{"run", execution.run_id},
                {"build", execution.build},
                {"device", execution.device},
                {"threads", execution.threads},
                {"dtype", execution.dtype},
                {"cpu", execution.cpu}});
}

}  // namespace strata
