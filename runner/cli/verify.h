// `strata verify`: the table of a verification, and whether it is within the tolerance.
#pragma once

#include <string>
#include <vector>

#include "core/progress.h"
#include "core/result.h"
#include "runner/cli/arguments.h"
#include "runner/experiment_config.h"

namespace strata::cli {

// Errors: those of verify(), and drift beyond arguments.tolerance or arguments.allowed_changes,
// after the table was printed.
Status verify(const Arguments& arguments, const std::vector<Job>& jobs, const std::string& build,
              Progress& progress);

}  // namespace strata::cli
