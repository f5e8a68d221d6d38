// The functions of the override grammar: sweeps (choice, range, glob), casts (int, float, str,
// bool) and sort. Private to the parser.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"
#include "runner/config/override.h"

namespace strata::config::internal {

using Argument = std::variant<Value, Sweep, Glob>;

struct Call {
  std::string name;
  std::vector<Argument> positional;
  std::vector<std::pair<std::string, Argument>> named;
  SourcePos pos;
};

// The values carry the call's position.
Result<Argument> evaluate(const Call& call);

}  // namespace strata::config::internal
