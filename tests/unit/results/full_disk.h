// A disk that becomes full after a number of writes: SQLite's default VFS with its xWrite replaced.
#pragma once

namespace strata::test {

class FullDisk {
 public:
  // From now on, every write after the first `writes` fails with SQLITE_FULL, until this object
  // dies. One at a time.
  explicit FullDisk(int writes);
  ~FullDisk();
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;
  static bool was_hit();  // since the latest construction

  // Once, before the first database is opened.
  static void install();
};

}  // namespace strata::test
