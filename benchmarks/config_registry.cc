#include "benchmarks/config_registry.h"

namespace strata {

std::vector<BenchmarkInfo> benchmark_infos() {
  return {
      {"jsonl", "your own questions, one JSON object a line"},
      {"niah", "needle in a haystack (RULER's single-needle and multi-key forms)"},
  };
}

}  // namespace strata
