#include "models/convert/hybrid_checkpoint.h"

#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "core/atomic_file.h"
#include "core/sha256.h"
#include "models/checkpoint/json_fields.h"
#include "models/convert/save_model.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlanFile = "plan.json";
constexpr std::uint64_t kMaxOriginBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kMaxPlanBytes = std::uint64_t{16} << 20;

Result<nlohmann::json> read_object(const fs::path& file, std::uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(file, max_bytes));
  Result<nlohmann::json> json = json_fields::parse_object(text);
  if (!json) return fail(std::move(json).error().at(file.string()));
  return json;
}

Result<HybridDescription> parse_hybrid(const nlohmann::json& hybrid, const fs::path& directory,
                                       const HeadLayout& layout) {
  if (!hybrid.is_object() || !hybrid.contains("plan") || !hybrid["plan"].is_string() ||
      !hybrid.contains("branches") || !hybrid["branches"].is_boolean())
    return fail(
        make_error(ErrorKind::kInvalidFile,
                   "field 'hybrid': expected {{\"plan\": id, \"branches\": true or false}}, got {}",
                   json_fields::describe(hybrid))
            .at((directory / kOriginFile).string()));
  const fs::path file = directory / kPlanFile;
  ASSIGN_OR_RETURN(const nlohmann::json json, read_object(file, kMaxPlanBytes));
  Result<AttentionPlan> plan = AttentionPlan::from_json(json, layout);
  if (!plan) return fail(std::move(plan).error().at(file.string()));
  if (plan->id() != hybrid["plan"].get<std::string>())
    return fail(make_error(ErrorKind::kInvalidFile, "expected the plan {} that {} names, got {}",
                           hybrid["plan"].get<std::string>(), kOriginFile, plan->id())
                    .at(file.string()));
  return HybridDescription{*std::move(plan), hybrid["branches"].get<bool>()};
}

}  // namespace

std::string hybrid_id(const std::string& model, const AttentionPlan& plan) {
  const nlohmann::json covered = {
      {"format", "strata-hybrid-1"}, {"model", model}, {"plan", plan.id()}};
  return sha256_hex(covered.dump());
}

Result<std::string> save_hybrid(const Checkpoint& parent, std::span<const TensorView> weights,
                                std::span<LayerBranch> branches, const AttentionPlan& plan,
                                const nlohmann::json& transform, const fs::path& directory,
                                std::uint64_t max_shard_bytes) {
  std::string id;
  RETURN_IF_ERROR(in_new_folder(directory, "model", [&](const fs::path& partial) -> Status {
    const nlohmann::json origin = {
        {"transform", transform},
        {"hybrid", {{"plan", plan.id()}, {"branches", !branches.empty()}}}};
    ASSIGN_OR_RETURN(id, write_model(partial, parent, weights, origin));
    if (!branches.empty()) {
      ASSIGN_OR_RETURN(
          id, write_branches(partial, id, parent.architecture(), branches, max_shard_bytes));
    }
    id = hybrid_id(id, plan);
    return write_atomically(partial / kPlanFile, plan.to_json().dump(2) + "\n");
  }));
  return id;
}

Result<std::optional<HybridDescription>> read_hybrid(const fs::path& directory,
                                                     const HeadLayout& layout) {
  const fs::path file = directory / kOriginFile;
  std::error_code code;
  if (!fs::exists(file, code)) return std::nullopt;
  ASSIGN_OR_RETURN(const nlohmann::json origin, read_object(file, kMaxOriginBytes));
  if (!origin.contains("hybrid")) return std::nullopt;
  ASSIGN_OR_RETURN(HybridDescription hybrid, parse_hybrid(origin["hybrid"], directory, layout));
  return hybrid;
}

}  // namespace strata
