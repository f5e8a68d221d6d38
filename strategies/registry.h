// Strategies by name, as the runner makes them.
#pragma once

#include <memory>

#include "core/config/value.h"
#include "strategies/strategy.h"

namespace strata {

// `strategy`: the mapping of the group, with its "name". Errors: an unknown name or key, a bad
// value.
Result<std::unique_ptr<SelectionStrategy>> make_strategy(const config::Value& strategy);

}  // namespace strata
