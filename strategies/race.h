// Successive halving: many contenders are compared on a few samples, the better half of them on
// more, and so on (Jamieson and Talwalkar, AISTATS 2016, with samples as the resource).
//
// Stage s of S ends when ⌈n / 2^(S−s)⌉ of the n samples were seen; after each but the last, the
// better half (by mean over the samples seen, ties to the lower contender), but no fewer than two,
// goes on: what is decided last is decided on all samples. All who are compared saw the same
// samples, so that differences are paired. One stage = everybody on everything. About n·C/2
// evaluations at three stages, instead of n·C.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "core/result.h"
#include "strategies/mean_error.h"

namespace strata {

// Values of contenders on samples, [contender][sample], higher is better.
using RaceValues = std::function<Result<std::vector<std::vector<double>>>(
    std::span<const std::size_t> contenders, std::span<const std::size_t> samples)>;

struct RaceResult {
  std::vector<std::vector<double>> values;  // [contender][sample], of the samples it saw, in order
  std::vector<std::size_t> finalists = {};  // who saw every sample; best mean first
  std::size_t evaluations = 0;              // values asked for
};

// contenders, samples and stages: at least one of each.
Result<RaceResult> race(std::size_t contenders, std::span<const std::size_t> samples,
                        std::size_t stages, const RaceValues& values);

}  // namespace strata
