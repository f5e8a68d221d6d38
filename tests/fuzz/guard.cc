#include "tests/fuzz/guard.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <ctime>
#include <exception>
#include <vector>

#include "core/result.h"
#include "tests/fuzz/allocation_meter.h"

// AddressSanitizer's, where it is linked: its reports end the process without a signal.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): its name
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

// UndefinedBehaviorSanitizer's reports become a signal.
// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): its name
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace strata::fuzz {
namespace {

// What the handlers need, in a form that they may touch.
struct Current {
  const char* data = nullptr;
  std::size_t size = 0;
  const char* file = nullptr;
  const char* what = nullptr;
};
Current current;
std::atomic<bool> dumped{false};

void write_all(int descriptor, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t done = ::write(descriptor, data, size);
    if (done <= 0) return;
    data += done;
    size -= static_cast<std::size_t>(done);
  }
}

void write_input() {
  const int file = ::open(current.file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return;
  write_all(file, current.data, current.size);
  ::close(file);
}

void dump_current() {
  if (current.data == nullptr || dumped.exchange(true)) return;
  write_input();
  for (const char* text :
       {"\ncrashed or hung on ", current.what, "; the input is in ", current.file, "\n"})
    write_all(STDERR_FILENO, text, std::strlen(text));
}

void on_signal(int number) {
  dump_current();
  ::signal(number, SIG_DFL);
  ::raise(number);
}

std::chrono::nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

void set_timer(std::chrono::milliseconds time) {
  itimerval value{};
  value.it_value.tv_sec = time.count() / 1000;
  value.it_value.tv_usec = time.count() % 1000 * 1000;
  ::setitimer(ITIMER_REAL, &value, nullptr);
}

void install_handlers() {
  // A stack that has run over cannot carry the handler.
  static std::vector<char> stack(std::size_t{64} << 10);
  stack_t alternate{};
  alternate.ss_sp = stack.data();
  alternate.ss_size = stack.size();
  ::sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  const bool sanitizer = __sanitizer_set_death_callback != nullptr;
  if (sanitizer) __sanitizer_set_death_callback(dump_current);
  for (const int number : {SIGABRT, SIGALRM}) ::sigaction(number, &action, nullptr);
  // The sanitizer's own handlers say more.
  if (!sanitizer)
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL})
      ::sigaction(number, &action, nullptr);
}

}  // namespace

Guard::Guard(Target target, const std::filesystem::path& folder, const std::string& name)
    : target_(std::move(target)) {
  std::filesystem::create_directories(folder);
  file_ = (folder / (name + "-offending")).string();
  install_handlers();
}

Guard::~Guard() { current = {}; }

std::chrono::nanoseconds Guard::time_of(std::string_view input) {
  const std::vector<char> exact(input.begin(), input.end());
  set_timer(kMaxClock);
  AllocationMeter::restart();
  const std::size_t before = AllocationMeter::current_bytes();
  const std::chrono::nanoseconds begin = processor_time();
  try {
    target_({exact.data(), exact.size()});
  } catch (const std::exception& exception) {
    thrown_ = exception.what();
  }
  const std::chrono::nanoseconds time = processor_time() - begin;
  last_bytes_ = AllocationMeter::peak_bytes() - before;
  set_timer(std::chrono::milliseconds(0));
  return time;
}

std::optional<std::string> Guard::run(std::string_view input, const std::string& what) {
  thrown_.clear();
  dumped = false;
  current = {input.data(), input.size(), file_.c_str(), what.c_str()};
  const std::chrono::nanoseconds time = time_of(input);
  slowest_ = std::max(slowest_, time);
  std::string complaint;
  if (!thrown_.empty()) complaint = fmt::format("threw '{}'", thrown_);
  if (time > kMaxTime)
    complaint = fmt::format("took {} ms, expected at most {}",
                            std::chrono::duration_cast<std::chrono::milliseconds>(time).count(),
                            kMaxTime.count());
  if (const std::size_t limit = max_allocation(input.size()); last_bytes_ > limit)
    complaint = fmt::format("allocated {} bytes, expected at most {}", last_bytes_, limit);
  if (!complaint.empty()) {
    write_input();
    complaint =
        fmt::format("{}: {} bytes {}; the input is in {}", what, input.size(), complaint, file_);
  }
  current = {};
  if (complaint.empty()) return std::nullopt;
  return complaint;
}

}  // namespace strata::fuzz
