// The time as rows have it.
#pragma once

#include <string>

namespace strata {

std::string utc_now();  // "2025-01-31T12:00:00.123456Z"

}  // namespace strata
