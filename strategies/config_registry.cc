#include "strategies/config_registry.h"

#include "strategies/strategy_configs.h"

namespace strata {

std::vector<StrategyInfo> strategy_infos() {
  return std::apply(
      [](auto... configs) {
        return std::vector<StrategyInfo>{StrategyInfo{configs.kName, configs.kHelp,
                                                      config::to_value(configs),
                                                      config::describe(configs, "strategy")}...};
      },
      StrategyConfigs{});
}

Status check_strategy_config(const config::Value& strategy) {
  return with_strategy_config(strategy, [](const auto&) {});
}

}  // namespace strata
