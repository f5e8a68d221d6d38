// The needle-in-a-haystack benchmark: RULER's single-needle and multi-key forms at an exact token
// length.
//
// Prompt and generation limit together are exactly `length` tokens, or short by metadata.shortfall
// < 16. Sample i depends on config, seed, split and tokenizer alone. metadata holds what the
// database and check_disjoint() need.
#pragma once

#include <memory>

#include "benchmarks/benchmark.h"
#include "benchmarks/niah_config.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_niah(NiahConfig config);

}  // namespace strata
