#include "benchmarks/packed_file.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <system_error>
#include <utility>

namespace strata {
namespace {

// What a packed file may unpack to: text packs to a tenth or so, what was made to burst to a
// thousandth.
constexpr std::size_t kMaxRatio = 100;
constexpr std::size_t kAlwaysUnpacked = std::size_t{16} << 20U;
constexpr std::size_t kMaxRead = std::size_t{1} << 30U;  // zlib counts in unsigned

}  // namespace

void PackedFile::Closer::operator()(gzFile_s* file) const { gzclose(file); }

Result<PackedFile> PackedFile::open(const std::filesystem::path& path, std::size_t max_bytes) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code))
    return fail(
        make_error(ErrorKind::kNotFound, "expected a file here, found none").at(path.string()));
  const std::uintmax_t size = std::filesystem::file_size(path, code);
  if (code)
    return fail(
        make_error(ErrorKind::kIo, "cannot look at it: {}", code.message()).at(path.string()));
  const std::size_t most =
      size > max_bytes / kMaxRatio
          ? max_bytes
          : std::max(kAlwaysUnpacked, kMaxRatio * static_cast<std::size_t>(size));
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return fail(make_error(ErrorKind::kIo, "cannot open it").at(path.string()));
  return PackedFile(file, path, most);
}

Result<std::size_t> PackedFile::read(std::span<char> buffer) {
  const int got =
      gzread(file_.get(), buffer.data(), static_cast<unsigned>(std::min(buffer.size(), kMaxRead)));
  int error = Z_OK;
  const std::string reason = got <= 0 ? gzerror(file_.get(), &error) : "";
  if (got < 0 || (error != Z_OK && error != Z_STREAM_END))
    return fail(make_error(ErrorKind::kInvalidFile, "damaged or cut off: {}",
                           reason.empty() ? "unreadable" : reason)
                    .at(path_.string()));
  bytes_read_ += static_cast<std::size_t>(got);
  if (bytes_read_ > max_bytes_)
    return fail(make_error(ErrorKind::kInvalidFile, "expected at most {} bytes unpacked, got more",
                           max_bytes_)
                    .at(path_.string()));
  return static_cast<std::size_t>(got);
}

Result<std::string> read_maybe_gzip(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(PackedFile file, PackedFile::open(path));
  std::string text;
  std::array<char, 1U << 16U> buffer{};
  while (true) {
    ASSIGN_OR_RETURN(const std::size_t got, file.read(buffer));
    if (got == 0) return text;
    text.append(buffer.data(), got);
  }
}

}  // namespace strata
