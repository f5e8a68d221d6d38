// What was counted, as JSON: in reports of a cost, and in checkpoints of a training.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "models/model.h"

namespace strata {

nlohmann::json to_json(const Meter& meter);  // every field but the peak
Result<Meter> meter_from_json(const nlohmann::json& json);

}  // namespace strata
