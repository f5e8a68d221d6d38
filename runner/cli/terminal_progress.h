// Progress on standard error: a bar with the time left on a terminal, a plain line now and then
// elsewhere.
#pragma once

#include <chrono>
#include <string>

#include "core/progress.h"

namespace strata::cli {

// From here on, the first SIGINT or SIGTERM asks running work to stop after its sample; the second
// ends the process.
void listen_for_interrupts();

class TerminalProgress final : public Progress {
 public:
  TerminalProgress();
  void begin(std::string_view stage, std::int64_t total) override;
  void advance(std::int64_t steps) override;
  void end() override;
  bool stop_requested() const override;
  void set_prefix(std::string prefix) { prefix_ = std::move(prefix); }  // "[3/13] "

 private:
  using Clock = std::chrono::steady_clock;
  void draw(bool last);

  bool terminal_;
  std::string prefix_, stage_;
  std::int64_t total_ = 0, done_ = 0;
  Clock::time_point start_, drawn_;
};

}  // namespace strata::cli
