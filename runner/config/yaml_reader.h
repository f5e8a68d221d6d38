// YAML text to config::Value with positions, by the scalar rules that PyYAML and OmegaConf share
// (see scalar.h).
//
// Refuses what a configuration has no use for: duplicate keys, more than one document, keys that
// are not scalars, unknown tags, and anything past the limits below, which also bound what aliases
// may expand to.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "core/config/value.h"
#include "core/result.h"

namespace strata::config {

inline constexpr std::size_t kMaxYamlBytes = std::size_t{1} << 20;
inline constexpr std::size_t kMaxYamlDepth = 64;
inline constexpr std::size_t kMaxYamlNodes = 20'000;  // after aliases are expanded

// `file` names the text in positions and errors. An empty text is an empty mapping.
Result<Value> read_yaml(std::string_view text, const std::string& file);

}  // namespace strata::config
