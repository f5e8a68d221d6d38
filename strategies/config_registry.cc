#include "strategies/config_registry.h"

#include "strategies/strategy_configs.h"

namespace strata {
namespace {

// Unless the struct says otherwise.
template <typename Config>
constexpr bool uses_budget() {
  if constexpr (requires { Config::kUsesBudget; }) return Config::kUsesBudget;
  return true;
}

}  // namespace

std::vector<StrategyInfo> strategy_infos() {
  return std::apply(
      [](auto... configs) {
        return std::vector<StrategyInfo>{
            StrategyInfo{configs.kName, configs.kHelp, uses_budget<decltype(configs)>(),
                         config::to_value(configs), config::describe(configs, "strategy")}...};
      },
      StrategyConfigs{});
}

Status check_strategy_config(const config::Value& strategy) {
  return with_strategy_config(strategy, [](const auto&) {});
}

}  // namespace strata
