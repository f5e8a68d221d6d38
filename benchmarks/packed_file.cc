#include "benchmarks/packed_file.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>

namespace strata {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{2} << 30U;  // unpacked
// What a packed file may unpack to: text packs to a tenth or so, what was made to burst to a
// thousandth.
constexpr std::size_t kMaxRatio = 100;
constexpr std::size_t kAlwaysUnpacked = std::size_t{16} << 20U;

}  // namespace

Result<std::string> read_maybe_gzip(const std::filesystem::path& path) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code))
    return fail(
        make_error(ErrorKind::kNotFound, "expected a file here, found none").at(path.string()));
  const std::uintmax_t size = std::filesystem::file_size(path, code);
  if (code)
    return fail(
        make_error(ErrorKind::kIo, "cannot look at it: {}", code.message()).at(path.string()));
  const std::size_t max_bytes =
      size > kMaxFileBytes / kMaxRatio
          ? kMaxFileBytes
          : std::max(kAlwaysUnpacked, kMaxRatio * static_cast<std::size_t>(size));
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return fail(make_error(ErrorKind::kIo, "cannot open it").at(path.string()));
  std::string text;
  std::array<char, 1U << 16U> buffer{};
  int got = 0;
  while ((got = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > max_bytes) break;
  }
  int error = Z_OK;
  const std::string reason = gzerror(file, &error);
  gzclose(file);
  if (got < 0 || (error != Z_OK && error != Z_STREAM_END)) {
    return fail(make_error(ErrorKind::kInvalidFile, "damaged or cut off: {}",
                           reason.empty() ? "unreadable" : reason)
                    .at(path.string()));
  }
  if (text.size() > max_bytes)
    return fail(make_error(ErrorKind::kInvalidFile, "expected at most {} bytes unpacked, got more",
                           max_bytes)
                    .at(path.string()));
  return text;
}

}  // namespace strata
