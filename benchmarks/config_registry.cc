#include "benchmarks/config_registry.h"

namespace strata {

std::vector<BenchmarkInfo> benchmark_infos() {
  return {
      {"jsonl", "your own questions, one JSON object a line"},
      {"local_text",
       "negative log-likelihood of running text: what a plan does to ordinary tokens"},
      {"longmemeval", "questions about a long history of chat sessions (LongMemEval)"},
      {"multi_passkey",
       "sequences of random words hidden in a book (DuoAttention's calibration task)"},
      {"niah", "needle in a haystack (RULER's single-needle and multi-key forms)"},
      {"niah_grid",
       "needle in a haystack as it began: one needle at every length × depth of a grid"},
      {"ruler", "RULER's thirteen tasks, as published or as in lm-evaluation-harness"},
  };
}

}  // namespace strata
