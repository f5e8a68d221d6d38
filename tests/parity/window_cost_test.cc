// A windowed layer's attention time grows with the sequence, not with its square.
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/randn.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "models/mixers/attention.h"

namespace strata {
namespace {

double seconds(std::int64_t length, const PaletteEntry& entry) {
  const at::Tensor q = at::randn({1, 9, length, 64}), k = at::randn({1, 3, length, 64}),
                   v = at::randn({1, 3, length, 64});
  const at::Tensor out = at::empty_like(q);
  const KeyView keys{{}, {}, k, v, 0};
  const auto start = std::chrono::steady_clock::now();
  attend(q, 0, keys, entry, length, out);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(WindowCostTest, FourTimesTheTokensCostAtMost4Point4TimesTheAttentionTime) {
  at::set_num_threads(1);
  const c10::InferenceMode inference;
  const PaletteEntry entry{SlidingWindow{124, 4}, DecodeRule::kSame};
  constexpr std::int64_t kLength = 2048;  // 16 · (window + sinks)
  constexpr int kRuns = 11, kRounds = 4;
  seconds(kLength, entry);  // warm-up
  seconds(4 * kLength, entry);
  const auto median = [](std::vector<double> times) {
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    return times[kRuns / 2];
  };
  // Linear cost is a ratio of 4.2 (the first 128 rows are cheap), near the bound: a busy machine
  // gets another round.
  double ratio = 0;
  for (int round = 0; round < kRounds && (round == 0 || ratio > 4.4); ++round) {
    std::vector<double> shorter, longer;
    for (int run = 0; run < kRuns; ++run) {  // alternated, so that a busy moment hits both
      shorter.push_back(seconds(kLength, entry));
      longer.push_back(seconds(4 * kLength, entry));
    }
    ratio = median(longer) / median(shorter);
    fmt::print(
        "attention, window 124 + 4 sinks: {} tokens {:.2f} ms, {} tokens {:.2f} ms, ratio {:.2f}\n",
        kLength, median(shorter) * 1e3, 4 * kLength, median(longer) * 1e3, ratio);
  }
  EXPECT_LE(ratio, 4.4);
}

}  // namespace
}  // namespace strata
