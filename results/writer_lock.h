// WriterLock: the right to carry out runs in a database (or to judge its responses), which one
// process has at a time.
//
// SQLite itself lets several processes write in turn; what it cannot know is whether a run that is
// not finished is being carried out right now or was killed. The lock is the kernel's (flock on a
// file beside the database): it ends with the process, however that ends, and leaves nothing
// behind. Owned by one thread.
#pragma once

#include <string>

#include "core/result.h"

namespace strata {

class WriterLock {
 public:
  // Runs and judgements are written side by side; two of a kind would do the same work twice.
  enum class Work { kRun, kScore };
  // `database` exists. Errors: another process has it (its number is named); a folder in which no
  // file can be made.
  static Result<WriterLock> acquire(const std::string& database, Work work = Work::kRun);
  // Whether a process has it now. Nothing is written.
  static bool is_held(const std::string& database, Work work = Work::kRun);
  WriterLock(WriterLock&& other) noexcept;
  WriterLock& operator=(WriterLock&& other) noexcept;
  ~WriterLock();

 private:
  WriterLock(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_;
};

}  // namespace strata
