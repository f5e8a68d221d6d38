#include "strategies/registry.h"

#include "strategies/builtin.h"
#include "strategies/strategy_configs.h"

namespace strata {

Result<std::unique_ptr<SelectionStrategy>> make_strategy(const config::Value& strategy) {
  std::unique_ptr<SelectionStrategy> made;
  RETURN_IF_ERROR(
      with_strategy_config(strategy, [&](const auto& bound) { made = make_strategy(bound); }));
  return made;
}

}  // namespace strata
