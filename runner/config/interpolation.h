// ${…} in a composed configuration: other keys (${a.b}, ${.sibling}, ${..parent.key}, ${list[0]},
// ${a.${b}}) and the resolvers ${oc.env:NAME,default}, ${oc.select:key,default} and
// ${oc.decode:text}. "\${" is a literal "${". A string that is one interpolation takes the value's
// type; within a longer string values are written as Python does.
#pragma once

#include <cstddef>

#include "core/config/value.h"
#include "core/result.h"
#include "runner/config/compose.h"

namespace strata::config {

inline constexpr std::size_t kMaxInterpolationSteps = 100'000;  // values visited or copied
inline constexpr std::size_t kMaxInterpolationDepth = 64;
inline constexpr std::size_t kMaxInterpolatedBytes = std::size_t{64} * 1024;  // of one string

Result<Value> resolve(const Value& config, const Environment& environment);

}  // namespace strata::config
