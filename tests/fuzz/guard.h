// Runs a fuzz target over one input under the limits that every parser of foreign bytes keeps:
// time, memory, and no crash. An input that breaks one is written to a file that the message names.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace strata::fuzz {

// Instrumented programs take several times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kSlowdown = 4;
#else
inline constexpr int kSlowdown = 1;
#endif
// Of the processor, so that other programs do not count. Ten times as long on the clock ends the
// process.
inline constexpr std::chrono::milliseconds kMaxTime{kSlowdown * 1000};
inline constexpr std::chrono::milliseconds kMaxClock = 10 * kMaxTime;
inline constexpr std::size_t kMaxSlackBytes = std::size_t{64} << 20;
constexpr std::size_t max_allocation(std::size_t file_bytes) {
  return 2 * file_bytes + kMaxSlackBytes;
}

class Guard {
 public:
  using Target = std::function<void(std::string_view)>;
  // `folder` is where offending inputs go; `name` begins their names.
  Guard(Target target, const std::filesystem::path& folder, const std::string& name);
  ~Guard();
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

  // What was wrong, with the file; nothing where the target kept the limits. `what` names the input
  // ("seed 7, mutation 12"). The target sees a copy of exactly the input's size, so that a
  // sanitizer sees a read behind it. An exception that leaves the target is wrong too. A crash, or
  // kMaxClock, ends the process with the same message.
  std::optional<std::string> run(std::string_view input, const std::string& what);

  std::chrono::nanoseconds slowest() const { return slowest_; }

 private:
  std::chrono::nanoseconds time_of(std::string_view input);  // of the processor

  Target target_;
  std::string file_;
  std::chrono::nanoseconds slowest_{0};
  std::size_t last_bytes_ = 0;
  std::string thrown_;
};

}  // namespace strata::fuzz
