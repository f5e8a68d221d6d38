// Which of our evaluations stands beside a published number, and in what it differs from it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/reports/judged_responses.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/memory_report.h"
#include "results/reports/paper_table.h"

namespace strata {

// Everything that was run and may be compared: finished, on the test split.
struct OurRuns {
  LeaderboardData data;
  std::vector<MemoryBlock> memory;  // LongMemEval's questions with their judges
  std::map<std::string, std::map<JudgeIdentity, JudgedResponses>> judged;  // by run
};
Result<OurRuns> our_runs(const Store& store, const LeaderboardRequest& request);

// Those of a method ("nll_restore", "periodic[1]") and of its variants, by label. The exact label
// first, then the lowest calibration NLL, then the latest.
std::vector<const Evaluation*> runs_of_method(const OurRuns& ours, const std::string& method);

bool is_reference(const Evaluation& evaluation, std::string_view name);  // "full", "none"
// Whether its budget is the published one; full and none have none.
bool is_at_budget(const Evaluation& evaluation, const std::optional<double>& fraction);

struct OurNumber {
  const Evaluation* evaluation = nullptr;
  std::optional<Estimate> estimate;    // none: nothing was measured that could be shown
  std::string metric;                  // the published one, or what we have in its place
  std::optional<JudgeIdentity> judge;  // whose verdicts the estimate is of
  bool same_question = false;          // benchmark and task are the published ones
  std::vector<std::string> reasons;    // why it is not comparable; none: it is
};
// The query that gives its estimate.
std::string query_of(const OurNumber& number);
// The one with the fewest reasons, of those the first; of random draws the median. None: not run.
std::optional<OurNumber> closest_run(const OurRuns& ours, const std::string& method,
                                     const PaperSetting& published);

// How well two evaluations answer the same samples, 0 to 1 each, and by what: where the paper asked
// a judge, by what one said of the responses of both (the published judge, or else the one with
// most verdicts), else by the first metric that both have.
struct PairedAnswers {
  std::string metric, sql;  // that gives the mean of the first minus that of the second
  std::vector<double> first, second;
  std::vector<std::size_t> clusters;
};
std::optional<PairedAnswers> paired_answers(const OurRuns& ours, const Evaluation& first,
                                            const Evaluation& second,
                                            const PaperSetting& published);

}  // namespace strata
