#include "benchmarks/judge/pacing.h"

#include <algorithm>
#include <cmath>

namespace strata {

Seconds backoff_delay(const Backoff& backoff, int failed,
                      const std::optional<std::chrono::seconds>& retry_after, Rng& rng) {
  const double doubled = backoff.base.count() * std::exp2(std::min(failed - 1, 64));
  const double whole = std::min(doubled, backoff.longest.count());
  const Seconds delay(whole * (1 - 0.5 * rng.uniform()));
  return retry_after ? std::max(delay, Seconds(*retry_after)) : delay;
}

Pace::Pace(double per_minute)
    : interval_(per_minute > 0
                    ? std::chrono::duration_cast<Clock::duration>(Seconds(60 / per_minute))
                    : Clock::duration::zero()),
      next_(Clock::now()),
      held_until_(next_) {}

bool Pace::wait_until(Clock::time_point when, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  woken_.wait_until(lock, stop, when, [] { return false; });
  return !stop.stop_requested();
}

bool Pace::wait_for_turn(const std::stop_token& stop) {
  while (true) {
    Clock::time_point turn;
    {
      const std::lock_guard lock(mutex_);
      turn = std::max({next_, held_until_, Clock::now()});
      next_ = turn + interval_;
    }
    if (!wait_until(turn, stop)) return false;
    const std::lock_guard lock(mutex_);
    if (held_until_ <= turn) return true;  // else it was held meanwhile: another turn
  }
}

bool Pace::wait(Seconds duration, const std::stop_token& stop) {
  return wait_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(duration), stop);
}

void Pace::hold(Seconds duration) {
  const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(duration);
  const std::lock_guard lock(mutex_);
  held_until_ = std::max(held_until_, until);
}

}  // namespace strata
