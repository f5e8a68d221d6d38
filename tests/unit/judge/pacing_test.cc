// Waiting between attempts, and the pace that calls share.
#include "benchmarks/judge/pacing.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace strata::test {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

TEST(Backoff, DoublesUpToItsLimitLessARandomHalf) {
  const Backoff backoff{Seconds(1), Seconds(6)};
  Rng rng(7, "backoff");
  bool differs = false;
  for (int draw = 0; draw < 200; ++draw)
    for (int failed = 1; failed < 200; ++failed) {
      const double whole = failed == 1 ? 1 : failed == 2 ? 2 : failed == 3 ? 4 : 6;
      const double delay = backoff_delay(backoff, failed, {}, rng).count();
      EXPECT_GT(delay, whole / 2 - 1e-12);
      EXPECT_LE(delay, whole);
      differs = differs || delay < 0.9 * whole;
    }
  EXPECT_TRUE(differs);
}

TEST(Backoff, WaitsAsLongAsTheServerAsks) {
  Rng rng(7, "backoff");
  const Backoff backoff{Seconds(1), Seconds(6)};
  EXPECT_EQ(backoff_delay(backoff, 1, std::chrono::seconds(30), rng), Seconds(30));
  EXPECT_LE(backoff_delay(backoff, 1, std::chrono::seconds(0), rng), Seconds(1));
}

TEST(Backoff, IsTheSameForTheSameStream) {
  Rng one(7, "a"), same(7, "a"), other(8, "a");
  const Backoff backoff;
  const double first = backoff_delay(backoff, 1, {}, one).count();
  EXPECT_EQ(first, backoff_delay(backoff, 1, {}, same).count());
  EXPECT_NE(first, backoff_delay(backoff, 1, {}, other).count());
}

TEST(Pace, SpacesTurnsOfAllThreads) {
  Pace pace(60'000.0 / 20);  // one in 20 ms
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(pace.wait_for_turn({}));
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(Clock::now() - start, milliseconds(11 * 20));
}

TEST(Pace, WithoutALimitWaitsForNothing) {
  Pace pace(0);
  const auto start = Clock::now();
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(pace.wait_for_turn({}));
  EXPECT_LT(Clock::now() - start, milliseconds(2000));
}

TEST(Pace, HeldByOneCallHoldsAll) {
  Pace pace(0);
  pace.hold(Seconds(0.15));
  const auto start = Clock::now();
  EXPECT_TRUE(pace.wait_for_turn({}));
  EXPECT_GE(Clock::now() - start, milliseconds(140));
}

TEST(Pace, EndsItsWaitsWhenStopped) {
  Pace pace(1);
  std::stop_source stop;
  EXPECT_TRUE(pace.wait_for_turn(stop.get_token()));
  std::thread stopper([&] {
    std::this_thread::sleep_for(milliseconds(50));
    stop.request_stop();
  });
  const auto start = Clock::now();
  EXPECT_FALSE(pace.wait_for_turn(stop.get_token()));
  EXPECT_FALSE(pace.wait(Seconds(60), stop.get_token()));
  EXPECT_LT(Clock::now() - start, milliseconds(5000));
  stopper.join();
}

}  // namespace
}  // namespace strata::test
