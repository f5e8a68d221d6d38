// The original needle in a haystack: one needle, asked for at every length × depth of a grid.
//
// A cell is a sample; cells go through the depths of the shortest length first, and `samples` cuts
// them short (0: all). The needle is the same in all cells and public since 2023, so nothing can be
// calibrated on it: benchmark=niah draws its own. metadata holds the cell, where the needles stand,
// and the distance of the nearest from the question.
#pragma once

#include <memory>
#include <vector>

#include "benchmarks/benchmark.h"
#include "benchmarks/niah_grid_config.h"

namespace strata {

// `config` keeps to the constraints of its fields, as binding does.
std::unique_ptr<Benchmark> make_niah_grid(NiahGridConfig config);

// The grid's lengths (tokens), and depths (percent) in their published order: sigmoid depths fall,
// but for the first and last, which are 0 and 100.
std::vector<std::int64_t> grid_lengths(const NiahGridConfig& config);
std::vector<double> grid_depths(const NiahGridConfig& config);

}  // namespace strata
