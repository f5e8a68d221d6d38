#include "runner/cli/terminal_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

namespace strata::cli {
namespace {

// A signal handler can only reach what is global.
volatile std::sig_atomic_t g_interrupts = 0;

extern "C" void on_interrupt(int) {
  g_interrupts = g_interrupts + 1;
  if (g_interrupts > 1) _exit(130);
}

std::string duration(double seconds) {
  const auto total = static_cast<long>(seconds + 0.5);
  if (total < 60) return fmt::format("{} s", total);
  if (total < 3600) return fmt::format("{} min {:02} s", total / 60, total % 60);
  return fmt::format("{} h {:02} min", total / 3600, total / 60 % 60);
}

constexpr int kBarWidth = 24;

}  // namespace

void listen_for_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

TerminalProgress::TerminalProgress() : terminal_(isatty(STDERR_FILENO) != 0) {}

bool TerminalProgress::stop_requested() const { return g_interrupts > 0; }

void TerminalProgress::begin(std::string_view stage, std::int64_t total) {
  stage_ = stage;
  total_ = total;
  done_ = 0;
  start_ = drawn_ = Clock::now();
  if (terminal_) draw(false);
}

void TerminalProgress::advance(std::int64_t steps) {
  done_ += steps;
  const auto now = Clock::now();
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(15);
  if (now - drawn_ < interval) return;
  drawn_ = now;
  draw(false);
}

void TerminalProgress::end() { draw(true); }

void TerminalProgress::draw(bool last) {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  std::string line = fmt::format("{}{:<22} {}/{}", prefix_, stage_, done_, total_);
  if (last) {
    line += fmt::format("  {}", duration(elapsed));
  } else if (done_ > 0 && total_ > 0) {
    line += fmt::format("  {} left", duration(elapsed / static_cast<double>(done_) *
                                              static_cast<double>(total_ - done_)));
  }
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", line.c_str());
    return;
  }
  const auto filled = total_ > 0 ? static_cast<std::size_t>(kBarWidth * done_ / total_) : 0;
  const std::string bar = std::string(filled, '#') +
                          std::string(kBarWidth - std::min<std::size_t>(filled, kBarWidth), '.');
  std::fprintf(stderr, "\r\x1b[K[%s] %s%s", bar.c_str(), line.c_str(), last ? "\n" : "");
  std::fflush(stderr);
}

}  // namespace strata::cli
