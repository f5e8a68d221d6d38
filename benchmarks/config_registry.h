// Names, one-line help and keys of every benchmark, without what runs them: for `strata --help` and
// completion.
#pragma once

#include <string_view>
#include <vector>

#include "benchmarks/jsonl_config.h"
#include "benchmarks/local_text_config.h"
#include "benchmarks/longmemeval_config.h"
#include "benchmarks/multi_passkey_config.h"
#include "benchmarks/niah_config.h"
#include "benchmarks/niah_grid_config.h"
#include "benchmarks/ruler_config.h"

namespace strata {

struct BenchmarkInfo {
  std::string_view name;
  std::string_view help;
};
std::vector<BenchmarkInfo> benchmark_infos();  // alphabetical

// Calls visit(default config) with the config struct of the named benchmark; false for an unknown
// name.
template <typename Visit>
bool visit_benchmark_config(std::string_view name, Visit&& visit) {
  if (name == "jsonl") return visit(JsonlConfig{}), true;
  if (name == "local_text") return visit(LocalTextConfig{}), true;
  if (name == "longmemeval") return visit(LongMemEvalConfig{}), true;
  if (name == "multi_passkey") return visit(MultiPasskeyConfig{}), true;
  if (name == "niah") return visit(NiahConfig{}), true;
  if (name == "niah_grid") return visit(NiahGridConfig()), true;
  if (name == "ruler") return visit(RulerConfig{}), true;
  return false;
}

}  // namespace strata
