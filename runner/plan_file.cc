#include "runner/plan_file.h"

#include <nlohmann/json.hpp>

#include "models/checkpoint/json_fields.h"

namespace strata {

Result<nlohmann::json> read_plan_json(const std::string& path) {
  constexpr std::uint64_t kMaxPlanBytes = 16 << 20;
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(path, kMaxPlanBytes));
  Result<nlohmann::json> json = json_fields::parse_object(text);
  if (!json) return fail(std::move(json).error().at(path));
  if (json->contains("plan")) return nlohmann::json((*json)["plan"]);  // selection.json
  return json;
}

}  // namespace strata
