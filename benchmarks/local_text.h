// Next-token likelihood of running text: windows of exactly `length` tokens, of which the first are
// the prompt and the others the teacher-forced answer. Nothing is generated; the metrics are
// answer_nll (nats a token) and perplexity (its exponential).
//
// Windows do not overlap, so each is a cluster of its own; texts belong to splits. No chat
// template: the text follows the tokens that the checkpoint wants in front (BOS), which count.
#pragma once

#include <memory>

#include "benchmarks/benchmark.h"
#include "benchmarks/local_text_config.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_local_text(LocalTextConfig config);

}  // namespace strata
