// The benchmarks there are, by name: one explicit list.
#pragma once

#include <memory>
#include <string_view>

#include "benchmarks/benchmark.h"
#include "core/config/binder.h"

namespace strata {

// Binds `config` (the benchmark's own keys; null = defaults) to the named benchmark's config
// struct. Errors: an unknown name or key, a bad value.
Result<std::unique_ptr<Benchmark>> make_benchmark(std::string_view name,
                                                  const config::Value& config,
                                                  const config::BindOptions& options = {"benchmark",
                                                                                        {"name"}});

}  // namespace strata
