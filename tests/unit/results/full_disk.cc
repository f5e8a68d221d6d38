#include "full_disk.h"

#include <sqlite3.h>

#include <map>

namespace strata::test {
namespace {

// SQLite's hooks are C functions, so this state cannot live in an object.
sqlite3_vfs* real_vfs = nullptr;
int writes_left = -1;  // −1: the disk has room
bool hit = false;

struct Methods {
  sqlite3_io_methods replaced;
  int (*write)(sqlite3_file*, const void*, int, sqlite3_int64);
};
std::map<const sqlite3_io_methods*, Methods>& replaced_methods() {
  static std::map<const sqlite3_io_methods*, Methods> methods;
  return methods;
}

int write_until_full(sqlite3_file* file, const void* data, int amount, sqlite3_int64 offset) {
  if (writes_left == 0) {
    hit = true;
    return SQLITE_FULL;
  }
  if (writes_left > 0) --writes_left;
  for (const auto& [original, methods] : replaced_methods())
    if (file->pMethods == &methods.replaced) return methods.write(file, data, amount, offset);
  return SQLITE_IOERR;
}

int open_with_our_write(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags,
                        int* out_flags) {
  const int code = real_vfs->xOpen(real_vfs, name, file, flags, out_flags);
  if (code != SQLITE_OK || file->pMethods == nullptr) return code;
  auto [it, is_new] = replaced_methods().try_emplace(
      file->pMethods, Methods{*file->pMethods, file->pMethods->xWrite});
  if (is_new) it->second.replaced.xWrite = write_until_full;
  file->pMethods = &it->second.replaced;
  return code;
}

}  // namespace

void FullDisk::install() {
  if (real_vfs != nullptr) return;
  real_vfs = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs vfs = *real_vfs;
  vfs.zName = "full-disk";
  vfs.pNext = nullptr;
  vfs.xOpen = open_with_our_write;
  sqlite3_vfs_register(&vfs, /*makeDflt=*/1);
}

FullDisk::FullDisk(int writes) {
  writes_left = writes;
  hit = false;
}

FullDisk::~FullDisk() { writes_left = -1; }

bool FullDisk::was_hit() { return hit; }

}  // namespace strata::test
