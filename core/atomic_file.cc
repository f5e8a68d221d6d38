#include "core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace strata {
namespace {

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Status write_atomically(const std::filesystem::path& path, std::string_view bytes) {
  return write_atomically(path, std::span(&bytes, 1));
}

Status write_atomically(const std::filesystem::path& path,
                        std::span<const std::string_view> parts) {
  const std::string temporary = path.string() + ".partial";
  const auto failed = [&](const char* what) {
    return fail(
        make_error(ErrorKind::kIo, "cannot {}: {}", what, std::strerror(errno)).at(path.string()));
  };
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return failed("create the file");
  const auto write = [file](std::string_view bytes) { return write_all(file, bytes); };
  const bool written = std::all_of(parts.begin(), parts.end(), write) && ::fsync(file) == 0;
  const int saved_errno = errno;
  ::close(file);
  errno = saved_errno;
  if (!written || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const auto error = failed("write the file");
    ::unlink(temporary.c_str());
    return error;
  }
  const std::filesystem::path parent = path.parent_path();
  const int folder =
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder >= 0) {  // not every file system can sync a folder
    ::fsync(folder);
    ::close(folder);
  }
  return {};
}

}  // namespace strata
