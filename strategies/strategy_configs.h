// One step of every walk over StrategyConfigs: find the struct of a name, bind it, hand it on.
// Internal.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "core/config/binder.h"
#include "strategies/configs.h"

namespace strata {

inline std::vector<std::string> strategy_names() {
  return std::apply(
      [](auto... configs) { return std::vector<std::string>{std::string(configs.kName)...}; },
      StrategyConfigs{});
}

// Calls use(bound config) for the struct whose kName is strategy.name.
template <typename Use>
Status with_strategy_config(const config::Value& strategy, Use&& use) {
  const config::Value* name = strategy.find("name");
  if (name == nullptr || name->if_string() == nullptr)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "strategy.name is missing; expected one of {}",
                           fmt::join(strategy_names(), ", "))
                    .at(strategy.pos.text()));
  bool known = false;
  Status status;
  const auto try_one = [&](auto bound) {
    if (known || *name->if_string() != bound.kName) return;
    known = true;
    status = config::bind(strategy, bound, {.path = "strategy", .also_known = {"name", "seed"}});
    if (status) use(bound);
  };
  std::apply([&](auto... configs) { (try_one(configs), ...); }, StrategyConfigs{});
  if (!known)
    return fail(
        make_error(ErrorKind::kInvalidArgument, "unknown strategy '{}'; expected one of {}",
                   *name->if_string(), fmt::join(strategy_names(), ", "))
            .at(name->pos.text())
            .with_hint(config::nearest_hint(*name->if_string(), strategy_names(), "strategies")));
  return status;
}

}  // namespace strata
