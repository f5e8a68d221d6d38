#include "models/meter_json.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "models/training/adam.h"

namespace strata {

nlohmann::json to_json(const Meter& meter) {
  return {{"forward_tokens", meter.forward_tokens}, {"backward_tokens", meter.backward_tokens},
          {"layer_tokens", meter.layer_tokens},     {"flops", meter.flops},
          {"evaluations", meter.evaluations},       {"seconds", meter.seconds}};
}

Result<Meter> meter_from_json(const nlohmann::json& json) {
  Meter meter;
  const std::vector<std::pair<const char*, double*>> fields = {
      {"forward_tokens", &meter.forward_tokens},
      {"backward_tokens", &meter.backward_tokens},
      {"layer_tokens", &meter.layer_tokens},
      {"flops", &meter.flops},
      {"seconds", &meter.seconds}};
  for (const auto& [name, value] : fields) {
    if (!json.is_object() || !json.contains(name) || !json[name].is_number())
      return fail(ErrorKind::kInvalidFile, "\"{}\": expected a number", name);
    *value = json[name].get<double>();
  }
  ASSIGN_OR_RETURN(meter.evaluations, count_of(json, "evaluations"));
  return meter;
}

}  // namespace strata
