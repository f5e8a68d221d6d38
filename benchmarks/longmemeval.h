// LongMemEval (Wu et al., ICLR 2025, xiaowu0162/LongMemEval, MIT): questions about what was said in
// a long history of chat sessions, with the published prompts.
//
// Generated answers are checked by rules (answer_checker.h), answers are teacher-forced right
// behind the prompt. Labels of evidence reach metadata alone.
#pragma once

#include <memory>

#include "benchmarks/benchmark.h"
#include "benchmarks/longmemeval_config.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_longmemeval(LongMemEvalConfig config);

}  // namespace strata
