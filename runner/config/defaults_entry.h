// One entry of a defaults list, as written: "_self_", "other_config", "[optional] [override]
// group[@package]: option".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config/value.h"
#include "core/result.h"

namespace strata::config {

struct DefaultsEntry {
  std::string group;  // "" = a config named by its path
  Value option;       // of a group: null, a string or a list of strings; else the path
  std::optional<std::string> package;  // after '@'
  bool is_optional = false;
  bool is_override = false;
  SourcePos pos;

  bool is_self() const { return group.empty() && option == Value("_self_"); }
};

// The entries of a file's `defaults:` value.
Result<std::vector<DefaultsEntry>> parse_defaults(const Value& list);

}  // namespace strata::config
