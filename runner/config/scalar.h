// Plain (unquoted) YAML scalars to typed values, by the rules of PyYAML with OmegaConf's additions:
// yes/no/on/off are booleans, 010 is octal, 1_000 an integer, 1:30 sexagesimal, 1e5 a real, dates
// are strings.
#pragma once

#include <string_view>

#include "core/config/value.h"
#include "core/result.h"

namespace strata::config {

// The value has no position. Errors: a number that does not fit.
Result<Value> plain_scalar(std::string_view text);

// True for well-formed UTF-8 without control characters other than tab and line ends: all that we
// read.
bool is_clean_text(std::string_view text);

}  // namespace strata::config
