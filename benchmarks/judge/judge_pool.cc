#include "benchmarks/judge/judge_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace strata {
namespace {

// How often the user's wish to stop is looked at.
constexpr std::chrono::milliseconds kGlance{50};

struct Ended {
  std::size_t prompt = 0;
  ChatOutcome outcome;
};

class Pool {
 public:
  Pool(const JudgeConfig& config, const Endpoint& endpoint, const ApiKey& key,
       std::span<const std::string> prompts)
      : config_(config),
        endpoint_(endpoint),
        key_(key),
        prompts_(prompts),
        pace_(config.requests_per_minute) {
    const auto threads = std::min(static_cast<std::size_t>(config.concurrency), prompts.size());
    threads_.reserve(threads);
    for (std::size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }

  // Nothing yet: false after a glance's time.
  bool next(Ended& out) {
    std::unique_lock lock(mutex_);
    if (!there_.wait_for(lock, kGlance, [this] { return !ended_.empty(); })) return false;
    out = std::move(ended_.front());
    ended_.pop_front();
    return true;
  }

  // What ended before all threads had stopped.
  std::deque<Ended> stop() {
    stop_.request_stop();
    threads_.clear();  // joins
    return std::move(ended_);
  }

 private:
  void work() {
    ChatClient client(config_, endpoint_, key_, pace_);
    while (!stop_.stop_requested()) {
      const std::size_t prompt = next_.fetch_add(1);
      if (prompt >= prompts_.size()) return;
      Rng jitter(config_.seed, fmt::format("judge/{}", prompt));
      ChatOutcome outcome = client.ask(prompts_[prompt], jitter, stop_.get_token());
      if (outcome.stopped) return;
      const std::lock_guard lock(mutex_);
      ended_.push_back({prompt, std::move(outcome)});
      there_.notify_one();
    }
  }

  const JudgeConfig& config_;
  const Endpoint& endpoint_;
  const ApiKey& key_;
  std::span<const std::string> prompts_;
  Pace pace_;
  std::stop_source stop_;
  std::atomic<std::size_t> next_ = 0;
  std::mutex mutex_;
  std::condition_variable there_;
  std::deque<Ended> ended_;
  std::vector<std::jthread> threads_;  // last: they use what stands above
};

}  // namespace

Status judge_all(const JudgeConfig& config, const Endpoint& endpoint, const ApiKey& key,
                 std::span<const std::string> prompts, const TakeOutcome& take,
                 const Progress& progress) {
  Pool pool(config, endpoint, key, prompts);
  Status status;
  int failures = 0;  // in a row
  const auto accept = [&](const Ended& ended) -> Status {
    const ChatOutcome& outcome = ended.outcome;
    RETURN_IF_ERROR(take(ended.prompt, outcome));
    failures = outcome.end == CallEnd::kReplied ? 0 : failures + 1;
    if (outcome.end == CallEnd::kHopeless)
      return fail(make_error(ErrorKind::kIo, "{}", outcome.error)
                      .at(endpoint.host)
                      .with_hint("check judge.url, judge.model and the key; what was judged is "
                                 "recorded, and the same command carries on"));
    if (config.max_failures > 0 && failures >= config.max_failures)
      return fail(make_error(ErrorKind::kIo, "{} calls in a row failed; the last: {}", failures,
                             outcome.error)
                      .at(endpoint.host)
                      .with_hint("what was judged is recorded, and the same command carries on; "
                                 "judge.max_failures=0 goes through all whatever fails"));
    return {};
  };
  Ended ended;
  for (std::size_t taken = 0; taken < prompts.size() && status;) {
    if (progress.stop_requested()) {
      status = fail(make_error(ErrorKind::kInterrupted, "stopped")
                        .with_hint("what was judged is recorded; the same command carries on"));
    } else if (pool.next(ended)) {
      ++taken;
      status = accept(ended);
    }
  }
  // Replies that were paid for are not thrown away.
  for (const Ended& late : pool.stop())
    if (const Status recorded = take(late.prompt, late.outcome); !recorded && status)
      status = recorded;
  return status;
}

}  // namespace strata
