// Progress: how a long computation tells a person where it is. The library reports; runner/cli
// draws.
#pragma once

#include <cstdint>
#include <string_view>

namespace strata {

class Progress {
 public:
  virtual ~Progress() = default;
  // A new stage of `total` steps (0 = unknown). Called from one thread.
  virtual void begin(std::string_view stage, std::int64_t total) = 0;
  virtual void advance(std::int64_t steps) = 0;
  virtual void end() = 0;
  // True once the user asked to stop (SIGINT): finish the current sample and return kInterrupted.
  virtual bool stop_requested() const = 0;
};

class SilentProgress final : public Progress {
 public:
  void begin(std::string_view, std::int64_t) override {}
  void advance(std::int64_t) override {}
  void end() override {}
  bool stop_requested() const override { return false; }
};

}  // namespace strata
