// A windowed layer's attention time grows with the sequence, not with its square.
#include <ATen/Parallel.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "models/mixers/attention.h"

namespace strata {
namespace {

struct Inputs {
  explicit Inputs(std::int64_t length)
      : q(at::randn({1, 9, length, 64})),
        k(at::randn({1, 3, length, 64})),
        v(at::randn({1, 3, length, 64})),
        out(at::zeros_like(q)) {}
  at::Tensor q, k, v, out;
};

double seconds(const std::vector<Inputs>& sequences, const PaletteEntry& entry) {
  const auto start = std::chrono::steady_clock::now();
  for (const Inputs& x : sequences) {
    attend(x.q, 0, KeyView{{}, {}, x.k, x.v, 0}, entry, x.q.size(2), x.out);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(WindowCostTest, FourTimesTheTokensCostAtMost4Point4TimesTheAttentionTime) {
  at::set_num_threads(1);
  const c10::InferenceMode inference;
  const PaletteEntry entry{SlidingWindow{124, 4}, DecodeRule::kSame};
  constexpr std::int64_t kLength = 2048;  // 16 · (window + sinks)
  constexpr int kRuns = 11, kRounds = 4;
  // Four short sequences against one of four times their length: as many bytes pass through the
  // caches on both sides, so that the size of a machine's cache is no part of the ratio.
  std::vector<Inputs> shorter, longer;
  for (int i = 0; i < 4; ++i) shorter.emplace_back(kLength);
  longer.emplace_back(4 * kLength);
  seconds(shorter, entry);  // warm-up
  seconds(longer, entry);
  const auto median = [](std::vector<double> times) {
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    return times[kRuns / 2];
  };
  // Linear cost is a ratio of 4.2 (the first 128 rows are cheap), near the bound: a busy machine
  // gets another round.
  double ratio = 0;
  for (int round = 0; round < kRounds && (round == 0 || ratio > 4.4); ++round) {
    std::vector<double> four_short, one_long;
    for (int run = 0; run < kRuns; ++run) {  // alternated, so that a busy moment hits both
      four_short.push_back(seconds(shorter, entry));
      one_long.push_back(seconds(longer, entry));
    }
    const double short_ms = median(four_short) / 4 * 1e3, long_ms = median(one_long) * 1e3;
    ratio = long_ms / short_ms;
    fmt::print(
        "attention, window 124 + 4 sinks: {} tokens {:.2f} ms, {} tokens {:.2f} ms, ratio {:.2f}\n",
        kLength, short_ms, 4 * kLength, long_ms, ratio);
  }
  EXPECT_LE(ratio, 4.4);
}

}  // namespace
}  // namespace strata
