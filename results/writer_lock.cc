#include "results/writer_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace strata {
namespace {

// The number that the holder wrote; empty where it has not done so yet.
std::string holder(int descriptor) {
  std::array<char, 32> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size() - 1, 0);
  std::string out(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

// Whether the path still leads to the file that is open: a holder that ends removes it.
bool is_there(const std::string& path, int descriptor) {
  struct stat at_path {};
  struct stat open_file {};
  return ::stat(path.c_str(), &at_path) == 0 && ::fstat(descriptor, &open_file) == 0 &&
         at_path.st_ino == open_file.st_ino && at_path.st_dev == open_file.st_dev;
}

std::string path_of(const std::string& database, WriterLock::Work work) {
  return database + (work == WriterLock::Work::kScore ? "-score-lock" : "-lock");
}

}  // namespace

bool WriterLock::is_held(const std::string& database, Work work) {
  const int descriptor = ::open(path_of(database, work).c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return errno != ENOENT;  // a file that cannot be read says nothing
  const bool held = ::flock(descriptor, LOCK_SH | LOCK_NB) != 0;
  ::close(descriptor);
  return held;
}

Result<WriterLock> WriterLock::acquire(const std::string& database, Work work) {
  const bool scores = work == Work::kScore;
  const std::string path = path_of(database, work);
  while (true) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0)
      return fail(make_error(ErrorKind::kIo, "cannot make '{}': {}", path, std::strerror(errno))
                      .at(database)
                      .with_hint("make the folder writable, or choose another file with db="));
    WriterLock lock(path, descriptor);
    if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
      if (::flock(descriptor, LOCK_SH | LOCK_NB) == 0) {  // somebody in is_held() alone
        lock.path_.clear();
        continue;
      }
      const std::string process = holder(descriptor);
      lock.path_.clear();  // it is not ours to remove
      return fail(
          make_error(ErrorKind::kIo, "another strata {}{} is writing to this database",
                     scores ? "score" : "run",
                     process.empty() ? "" : fmt::format(" (process {})", process))
              .at(database)
              .with_hint(
                  scores ? "wait for it"
                         : "wait for it, or give each run a database with db= and merge them with "
                           "'strata db merge'"));
    }
    if (!is_there(path, descriptor)) {
      lock.path_.clear();
      continue;
    }
    const std::string process = fmt::format("{}\n", ::getpid());
    // For people alone: the lock does not depend on it.
    if (::ftruncate(descriptor, 0) == 0)
      static_cast<void>(::pwrite(descriptor, process.data(), process.size(), 0) == 0);
    return lock;
  }
}

WriterLock::WriterLock(WriterLock&& other) noexcept
    : path_(std::exchange(other.path_, {})), descriptor_(std::exchange(other.descriptor_, -1)) {}

WriterLock& WriterLock::operator=(WriterLock&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

WriterLock::~WriterLock() {
  if (descriptor_ < 0) return;
  if (!path_.empty()) ::unlink(path_.c_str());  // while it is still locked
  ::close(descriptor_);
}

}  // namespace strata
