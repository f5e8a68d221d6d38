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

inline constexpr std::size_t kMaxYamlBytes = std::size_t{256} << 10;  // yaml-cpp takes 240 times it
inline constexpr std::size_t kMaxYamlDepth = 64;
// After aliases are expanded; what anchors remember counts too.
inline constexpr std::size_t kMaxYamlNodes = 20'000;
inline constexpr std::size_t kMaxYamlTextBytes = std::size_t{4} << 20;  // of keys and scalars
// YAML's own limit for a key on its line is 1024 characters, of which quotes may take half.
inline constexpr std::size_t kMaxYamlKeyBytes = 500;
inline constexpr std::size_t kMaxYamlKeys = 1000;  // of one mapping, which searches them in order

// `file` names the text in positions and errors. An empty text is an empty mapping.
Result<Value> read_yaml(std::string_view text, const std::string& file);

}  // namespace strata::config
