// report run ID: everything about one run: status, configuration, plan, per-unit scores with
// standard errors, what the selection cost, and with intervals over the data set's clusters its
// metrics and the answer NLL at each answer position. Built from rows alone.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"
#include "results/reports/leaderboard.h"
#include "results/store.h"

namespace strata {

// `run`: an id or a unique beginning of one. csv gives the unit scores only (layer, unit, kept,
// score, standard_error; where a score tensor was stored, low, high and inclusion_percent too).
Result<std::string> run_report(const Store& store, std::string_view run,
                               const RenderOptions& options);

}  // namespace strata
