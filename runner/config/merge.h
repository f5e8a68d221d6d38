// Merging of configurations and the effect of one value override, by OmegaConf's rules.
#pragma once

#include <string>

#include "core/config/value.h"
#include "core/result.h"
#include "runner/config/override.h"

namespace strata::config {

enum class Missing { kKeepsBelow, kWins };  // what "???" above an existing value does

// Mappings merge key by key; everything else above replaces what is below, but a mapping and a list
// do not replace each other. `path` is where both stand, for messages. On an error `below` is
// unspecified.
Status merge(Value& below, const Value& above, Missing missing, const std::string& path = {});

// The value under a dotted package; "" is the value itself.
Value embed(Value value, const std::string& package);

// Changes `config` as the override says. The override has a key of the configuration, not of a
// group, and no sweep.
Status apply_override(Value& config, const Override& override);

}  // namespace strata::config
