// When the next attempt may be made: back-off between the attempts of a call, and the pace that all
// calls share.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>

#include "core/rng.h"

namespace strata {

using Seconds = std::chrono::duration<double>;

struct Backoff {
  Seconds base{1};
  Seconds longest{60};
};

// Before attempt `failed` + 1 (failed ≥ 1): base · 2^(failed − 1), at most the longest, of which a
// random half at most is taken off, so that calls that failed together do not come back together;
// never earlier than the server asked for.
Seconds backoff_delay(const Backoff& backoff, int failed,
                      const std::optional<std::chrono::seconds>& retry_after, Rng& rng);

// Attempts a minute at most, evenly spaced, over all threads. Thread-safe.
class Pace {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Pace(double per_minute);  // 0: no limit

  // Waits for the next turn; false where stopped first.
  bool wait_for_turn(const std::stop_token& stop);
  // Waits; false where stopped first.
  bool wait(Seconds duration, const std::stop_token& stop);
  // Nobody's turn comes before then: a server that asked one call to wait means all.
  void hold(Seconds duration);

 private:
  bool wait_until(Clock::time_point when, const std::stop_token& stop);

  Clock::duration interval_;
  std::mutex mutex_;
  std::condition_variable_any woken_;
  Clock::time_point next_;
  Clock::time_point held_until_;
};

}  // namespace strata
