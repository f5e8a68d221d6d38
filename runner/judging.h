// Judging stored responses: reads them, asks the judge, records what it says. No model.
#pragma once

#include <optional>
#include <vector>

#include "benchmarks/judge/judge_config.h"
#include "core/progress.h"
#include "results/reports/stored_keys.h"
#include "results/store.h"

namespace strata {

struct ScoreRequest {
  JudgeConfig judge;
  std::vector<KeyFilter> where;
  bool dry_run = false;  // count only
};

struct ScoreCounts {
  std::size_t experiments = 0;  // with questions of LongMemEval
  std::size_t other_experiments = 0;
  std::size_t missing = 0;  // questions without a response
  std::size_t already = 0;  // judged before by the same judge on the same prompt
  std::size_t asked = 0;    // of these:
  std::size_t yes = 0, no = 0, unparsable = 0, failed = 0;
  std::size_t empty = 0;  // responses of nothing but reasoning: wrong, and nobody is asked
};

struct Scored {
  ScoreCounts counts;
  std::optional<Error> error;  // what ended it early, or that calls failed; all is recorded
};

// The responses that reports take of each experiment are judged, whatever the runs' status. A
// judgement that is there is not asked for again where judge (model, endpoint, settings), response
// and prompt are the same and the call had not failed. Errors: the judge's configuration, a filter,
// a database without questions of LongMemEval.
Result<Scored> score_responses(Store& store, const ScoreRequest& request, Progress& progress);

// "412 responses judged by MODEL at HOST (…): …".
std::string summary_line(const JudgeConfig& judge, const std::string& endpoint,
                         const ScoreCounts& counts, bool dry_run);

}  // namespace strata
