// The runs of a database as a list: what each asked, how far it came, and the id that other reports
// take.
#pragma once

#include "results/reports/leaderboard.h"
#include "results/reports/page.h"

namespace strata {

// By start, the newest last. All fields of `request` but `by` choose runs. Errors: no run that
// matches.
Result<ReportPage> run_list(const Store& store, const LeaderboardRequest& request);

}  // namespace strata
