// What the command line needs to know of strategies: names, help, keys, defaults. No LibTorch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/binder.h"
#include "core/config/value.h"
#include "core/result.h"

namespace strata {

struct StrategyInfo {
  std::string_view name;
  std::string_view help;
  bool uses_budget = true;
  config::Value defaults;  // a mapping without "name"
  std::vector<config::FieldHelp> fields;
};

std::vector<StrategyInfo> strategy_infos();  // alphabetical

// `strategy`: the mapping of the group, with its "name". Errors: an unknown name or key, a bad
// value.
Status check_strategy_config(const config::Value& strategy);

}  // namespace strata
