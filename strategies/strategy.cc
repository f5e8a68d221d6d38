#include "strategies/strategy.h"

namespace strata {

CalibrationSet given(const CalibrationNeeds& needs, const CalibrationSet& all) {
  if (needs.pairs) return all;
  CalibrationSet set{all.id, {}};
  if (needs.answers) {
    set.samples = all.samples;
    for (Sample& sample : set.samples) sample.metadata.erase("counterfactual");
    return set;
  }
  for (const Sample& sample : all.samples) {
    Sample& bare = set.samples.emplace_back();
    bare.id = sample.id;
    bare.prompt = sample.prompt;
    bare.cluster = sample.cluster;
    if (needs.spans && sample.metadata.contains("needle"))
      bare.metadata["needle"] = sample.metadata["needle"];
  }
  return set;
}

Result<std::int64_t> whole_layers_of(const SelectionRequest& request, std::string_view who) {
  ASSIGN_OR_RETURN(const std::size_t units, units_of(request));
  const auto per_layer =
      static_cast<std::size_t>(request.layout.units_per_layer(request.granularity));
  if (units % per_layer != 0)
    return fail(ErrorKind::kInvalidArgument,
                "{} keeps whole layers: {} units are not a multiple of the {} units a layer", who,
                units, per_layer);
  return static_cast<std::int64_t>(units / per_layer);
}

}  // namespace strata
