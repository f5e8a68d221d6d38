// diagnostics=full: the signs of a bug that need passes of their own, noted in the selection's
// diagnostics with what they cost ("checks_cost"), which is no part of the selection's cost.
#pragma once

#include "core/progress.h"
#include "core/result.h"
#include "runner/experiment.h"

namespace strata {

// Looks at the model and its masks; where the selection used gradients, at those; where it
// searched, at what the search is worth; and at what the strategy itself wants to see. What does
// not depend on the selection is computed once for all selections of the process. Errors: those of
// the model, kInterrupted.
Status note_full_checks(const ExperimentConfig& config, const SelectionStrategy& strategy,
                        const SelectionRequest& request, Workbench& workbench, Progress& progress,
                        SelectedPlan& selected);

}  // namespace strata
