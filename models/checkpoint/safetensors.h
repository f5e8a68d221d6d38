// SafetensorsFile: a safetensors file, mapped read-only, with the checks of the reference
// implementation (0.8).
//
// A file that opens is well formed: every tensor's bytes lie in the file, tensors neither overlap
// nor leave a hole, and each size is what dtype and shape say. Numbers are not looked at. Nothing
// is accepted that the reference refuses; refused besides, as the format's text says: a header that
// does not begin with '{', a tensor description that is not an object, a dtype that is not a
// string, a dimension of 2^63 or more, more than 100,000 tensors or metadata entries, more than 64
// dimensions.
//
// Out of scope: a file that another program truncates while it is mapped (the system then kills the
// reader: SIGBUS).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace strata {

enum class DType {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};
std::string_view to_string(DType dtype);  // as in the file: "F32", "BF16"
std::optional<DType> parse_dtype(std::string_view text);
unsigned bits_per_element(DType dtype);

// The bytes live as long as the SafetensorsFile (moving it keeps them). Little-endian, C order,
// aligned to nothing.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

// What tells that a file is still the one that was opened.
struct FileStamp {
  std::uint64_t size = 0;
  std::uint64_t inode = 0;
  std::int64_t modified_ns = 0;  // since 1970
  std::int64_t changed_ns = 0;   // content or attributes; no program can set it back
  bool operator==(const FileStamp&) const = default;
};

// "[2, 3]", for messages.
std::string shape_text(std::span<const std::int64_t> shape);

// Movable; immutable after open, so that any number of threads may read.
class SafetensorsFile {
 public:
  // Errors: kNotFound, kIo, kInvalidFile (file, tensor, what was expected and got).
  static Result<SafetensorsFile> open(const std::filesystem::path& path);
  // A file's content in memory that the caller keeps alive; for tests and fuzzers. path() and
  // stamp() are empty.
  static Result<SafetensorsFile> from_bytes(std::span<const std::byte> content);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  std::span<const TensorView> tensors() const { return tensors_; }  // sorted by name
  const TensorView* find(std::string_view name) const;              // nullptr: not there
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::filesystem::path& path() const { return path_; }
  const FileStamp& stamp() const { return stamp_; }

 private:
  class Mapping;
  SafetensorsFile();
  Status parse(std::span<const std::byte> content);

  std::unique_ptr<Mapping> mapping_;
  std::filesystem::path path_;
  FileStamp stamp_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorView> tensors_;
};

// The stamp of a file as it is now.
Result<FileStamp> stamp_of(const std::filesystem::path& path);

}  // namespace strata
