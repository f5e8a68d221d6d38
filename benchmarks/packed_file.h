// Text files that may be packed by gzip, within limits.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "core/result.h"

struct gzFile_s;  // zlib's

namespace strata {

inline constexpr std::size_t kMaxUnpackedBytes = std::size_t{2} << 30U;

// A plain or gzip file, read piece by piece: at most `max_bytes` of text, and at most 100 times
// (16 MiB where that is less) what lies on the disk. Owned by one thread.
class PackedFile {
 public:
  // Errors, at the path: kNotFound, kIo.
  static Result<PackedFile> open(const std::filesystem::path& path,
                                 std::size_t max_bytes = kMaxUnpackedBytes);

  // The next bytes of the text, at the front of `buffer`; 0 at its end. Errors, at the path:
  // kInvalidFile (damaged, cut off, too long).
  Result<std::size_t> read(std::span<char> buffer);

 private:
  struct Closer {
    void operator()(gzFile_s* file) const;
  };
  PackedFile(gzFile_s* file, std::filesystem::path path, std::size_t max_bytes)
      : file_(file), path_(std::move(path)), max_bytes_(max_bytes) {}

  std::unique_ptr<gzFile_s, Closer> file_;
  std::filesystem::path path_;
  std::size_t max_bytes_;
  std::size_t bytes_read_ = 0;
};

// The whole text, at most kMaxUnpackedBytes. Errors: those of PackedFile.
Result<std::string> read_maybe_gzip(const std::filesystem::path& path);

}  // namespace strata
