// `strata bench`: what this machine does in how much time, as one line of JSON with every measured
// repeat, after one that is not counted.
#pragma once

#include "core/progress.h"
#include "core/result.h"
#include "runner/cli/arguments.h"
#include "runner/experiment_config.h"

namespace strata::cli {

// kBenchPrefill: one sequence of benchmark.length tokens, the last row's logits alone.
// kBenchDecode: batch= sequences behind prompts of benchmark.length tokens, arguments.new_tokens
// steps of all of them. Both under the strategy's plan, threads= threads to an operation.
// kBenchMixer: the cheap mixer of one layer alone, or full attention under strategy=full, over
// benchmark.length rows (models/mixers/mixer_speed.h).
// kBenchGates: forward and backward passes of batch= prompts of benchmark.length tokens with
// half-open gates, of layers or heads by granularity=, and on a GPU the most memory they held.
Status bench(const Arguments& arguments, const ExperimentConfig& config, Progress& progress);

}  // namespace strata::cli
