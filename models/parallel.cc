#include "models/parallel.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace strata {
namespace {

tl::unexpected<Error> interrupted() {
  return fail(
      make_error(ErrorKind::kInterrupted, "stopped by the user; what was finished is kept"));
}

}  // namespace

Status for_each_sample(MeteredModel& model, std::size_t count, const Progress& progress,
                       const std::function<Status(MeteredModel&, std::size_t)>& body,
                       const std::function<Status(std::size_t)>& finished) {
  const auto workers = std::min<std::size_t>(static_cast<std::size_t>(model.workers()), count);
  if (workers <= 1) {
    for (std::size_t i = 0; i < count; ++i) {
      if (progress.stop_requested()) return interrupted();
      RETURN_IF_ERROR(body(model, i));
      if (finished) RETURN_IF_ERROR(finished(i));
    }
    return {};
  }
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;  // guards ended, running, error
  std::condition_variable changed;
  std::deque<std::size_t> ended;
  std::size_t running = workers;
  std::optional<Error> error;

  std::vector<MeteredModel> models;
  for (std::size_t w = 0; w < workers; ++w) models.push_back(model.worker());
  std::vector<std::jthread> threads;
  for (std::size_t w = 0; w < workers; ++w)
    threads.emplace_back([&, w] {
      for (std::size_t i = next++; i < count && !stop; i = next++) {
        Status status = body(models[w], i);
        const std::lock_guard lock(mutex);
        if (status) {
          ended.push_back(i);
        } else {
          if (!error) error = std::move(status).error();
          stop = true;
        }
        changed.notify_one();
      }
      const std::lock_guard lock(mutex);
      --running;
      changed.notify_one();
    });

  std::size_t done = 0;
  bool asked_to_stop = false;
  std::unique_lock lock(mutex);
  while (running > 0 || !ended.empty()) {
    if (ended.empty()) changed.wait_for(lock, std::chrono::milliseconds(100));
    if (!asked_to_stop && progress.stop_requested()) asked_to_stop = stop = true;
    while (!ended.empty()) {
      const std::size_t index = ended.front();
      ended.pop_front();
      ++done;
      if (!finished) continue;
      lock.unlock();
      Status status = finished(index);
      lock.lock();
      if (!status && !error) error = std::move(status).error();
      if (error) stop = true;
    }
  }
  lock.unlock();
  threads.clear();
  for (const MeteredModel& worker : models) model.absorb(worker.meter());
  if (error) return fail(std::move(*error));
  if (asked_to_stop && done < count) return interrupted();
  return {};
}

AllThreads::AllThreads(const MeteredModel& model) : before_(at::get_num_threads()) {
  set_operation_threads(model.workers());
}
AllThreads::~AllThreads() { set_operation_threads(before_); }

}  // namespace strata
