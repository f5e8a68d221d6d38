// One sample of LongMemEval: the published prompt of a question, as long as it may be.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "benchmarks/longmemeval_config.h"
#include "benchmarks/longmemeval_file.h"

namespace strata {

// A question with the ids of its sessions' contents, in the order of the history.
struct MemoryQuestion {
  LongMemEvalItem item;
  std::string group;
  std::vector<std::string> session_ids;
};

// Leaves the evidence and sets `distractors` beside it. Those of other questions get dates of this
// one's time: drawn evenly from 30 days before the first evidence until the question.
void set_distractors(MemoryQuestion& question, const std::vector<std::string>& distractors,
                     const std::map<std::string, DatedSession>& texts,
                     const LongMemEvalConfig& config, std::uint64_t seed);

// None: the question does not fit and is dropped (benchmark.truncation=drop). Errors: it does not
// fit and may not be shortened, or not enough; those of encode_prompt().
Result<std::optional<Sample>> build_memory_sample(const MemoryQuestion& question,
                                                  const LongMemEvalConfig& config,
                                                  const SampleRequest& request);

}  // namespace strata
