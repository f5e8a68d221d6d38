// Independent samples on several threads of one process: weights are shared, everything else is a
// worker's own.
#pragma once

#include <cstddef>
#include <functional>

#include "core/progress.h"
#include "core/result.h"
#include "models/model.h"

namespace strata {

// Calls body(worker's model, i) for i in [0, count), each once, on `model.workers()` threads, and
// adds what the workers ran to the model's meter. `body` writes to places of its own index. After
// each, finished(i) (may be empty) runs on the calling thread, in the order in which bodies end:
// the place to write to a database. The first Error stops the rest; a stop request (progress, asked
// on the calling thread) is the Error kInterrupted, after the bodies that run.
Status for_each_sample(MeteredModel& model, std::size_t count, const Progress& progress,
                       const std::function<Status(MeteredModel&, std::size_t)>& body,
                       const std::function<Status(std::size_t)>& finished);

// While it lives, single operations take the threads that the model's workers would: for work that
// is not spread over samples. The process's setting: one at a time, and no workers meanwhile.
class AllThreads {
 public:
  explicit AllThreads(const MeteredModel& model);
  ~AllThreads();
  AllThreads(const AllThreads&) = delete;
  AllThreads& operator=(const AllThreads&) = delete;

 private:
  int before_;
};

}  // namespace strata
