// Plans as `strata select` writes them: plan.json, or selection.json with its plan inside.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "core/result.h"

namespace strata {

// The plan's JSON, not checked yet. Errors name the file.
Result<nlohmann::json> read_plan_json(const std::string& path);

}  // namespace strata
