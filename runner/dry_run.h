// What can be said against jobs before any weight is read, for --dry-run.
#pragma once

#include <span>

#include "runner/experiment_config.h"

namespace strata {

// The model's configuration and tokenizer, the budget in its layers, a plan's file, and the samples
// and calibration prompts, which are drawn. Errors: as the job itself would give them.
Status check_without_weights(std::span<const Job> jobs);

}  // namespace strata
