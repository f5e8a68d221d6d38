// RULER (NVIDIA/RULER, arXiv 2404.06654): thirteen synthetic tasks at a length in tokens.
//
// Prompt, answer prefix and generation limit together have at most `length` tokens, and one unit of
// the haystack (a word, a line, a document) more would be too long; metadata.shortfall says what is
// left. Sample i depends on config, seed, split, tokenizer and files alone.
#pragma once

#include <memory>

#include "benchmarks/benchmark.h"
#include "benchmarks/ruler_config.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_ruler(RulerConfig config);

}  // namespace strata
