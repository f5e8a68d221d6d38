#include "models/checkpoint/safetensors.h"

#include <fcntl.h>
#include <fmt/ranges.h>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>

#include "models/checkpoint/safetensors_header.h"

namespace strata {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // as in the reference
constexpr std::size_t kLengthBytes = 8;

struct DTypeRow {
  DType dtype;
  std::string_view name;
  unsigned bits;
};
constexpr std::array<DTypeRow, 22> kDTypes{{
    {DType::kBool, "BOOL", 8},
    {DType::kF4, "F4", 4},
    {DType::kF6E2M3, "F6_E2M3", 6},
    {DType::kF6E3M2, "F6_E3M2", 6},
    {DType::kU8, "U8", 8},
    {DType::kI8, "I8", 8},
    {DType::kF8E5M2, "F8_E5M2", 8},
    {DType::kF8E4M3, "F8_E4M3", 8},
    {DType::kF8E8M0, "F8_E8M0", 8},
    {DType::kF8E4M3Fnuz, "F8_E4M3FNUZ", 8},
    {DType::kF8E5M2Fnuz, "F8_E5M2FNUZ", 8},
    {DType::kI16, "I16", 16},
    {DType::kU16, "U16", 16},
    {DType::kF16, "F16", 16},
    {DType::kBF16, "BF16", 16},
    {DType::kI32, "I32", 32},
    {DType::kU32, "U32", 32},
    {DType::kF32, "F32", 32},
    {DType::kC64, "C64", 64},
    {DType::kF64, "F64", 64},
    {DType::kI64, "I64", 64},
    {DType::kU64, "U64", 64},
}};

const DTypeRow& row_of(DType dtype) {
  const auto& row = kDTypes[static_cast<std::size_t>(dtype)];
  STRATA_CHECK(row.dtype == dtype);
  return row;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> system_error(std::string_view what) {
  const ErrorKind kind = errno == ENOENT ? ErrorKind::kNotFound : ErrorKind::kIo;
  return fail(kind, "{}: {}", what, std::strerror(errno));
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

FileStamp stamp_from(const struct stat& info) {
  return {.size = static_cast<std::uint64_t>(info.st_size),
          .inode = info.st_ino,
          .modified_ns = nanoseconds(info.st_mtim),
          .changed_ns = nanoseconds(info.st_ctim)};
}

}  // namespace

std::string_view to_string(DType dtype) { return row_of(dtype).name; }

unsigned bits_per_element(DType dtype) { return row_of(dtype).bits; }

std::optional<DType> parse_dtype(std::string_view text) {
  for (const DTypeRow& row : kDTypes)
    if (row.name == text) return row.dtype;
  return std::nullopt;
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Result<FileStamp> stamp_of(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return system_error("cannot look at the file");
  return stamp_from(info);
}

class SafetensorsFile::Mapping {
 public:
  Mapping(void* address, std::size_t size) : address_(address), size_(size) {}
  ~Mapping() { ::munmap(address_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), size_};
  }

 private:
  void* address_;
  std::size_t size_;
};

SafetensorsFile::SafetensorsFile() = default;
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  const auto open_file = [&]() -> Result<SafetensorsFile> {
    // O_NONBLOCK: a FIFO is refused below instead of waited for.
    const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (descriptor.get() < 0) return system_error("cannot open");
    struct stat info {};
    if (::fstat(descriptor.get(), &info) != 0) return system_error("cannot look at the file");
    if (!S_ISREG(info.st_mode))
      return fail(ErrorKind::kInvalidFile, "expected a regular file, got something else");
    SafetensorsFile file;
    file.path_ = path;
    file.stamp_ = stamp_from(info);
    std::span<const std::byte> content;
    if (file.stamp_.size > 0) {
      void* address =
          ::mmap(nullptr, file.stamp_.size, PROT_READ, MAP_PRIVATE, descriptor.get(), 0);
      if (address == MAP_FAILED) return system_error("cannot map the file");
      file.mapping_ = std::make_unique<Mapping>(address, file.stamp_.size);
      content = file.mapping_->bytes();
    }
    RETURN_IF_ERROR(file.parse(content));
    return file;
  };
  auto file = open_file();
  if (!file) return fail(std::move(file).error().at(path.string()));
  return file;
}

Result<SafetensorsFile> SafetensorsFile::from_bytes(std::span<const std::byte> content) {
  SafetensorsFile file;
  RETURN_IF_ERROR(file.parse(content));
  return file;
}

Status SafetensorsFile::parse(std::span<const std::byte> content) try {
  if (content.size() < kLengthBytes)
    return fail(ErrorKind::kInvalidFile, "expected at least {} bytes, got {}", kLengthBytes,
                content.size());
  std::uint64_t length = 0;
  for (std::size_t i = kLengthBytes; i-- > 0;)
    length = length << 8 | std::to_integer<std::uint64_t>(content[i]);
  if (length > kMaxHeaderBytes)
    return fail(make_error(ErrorKind::kInvalidFile, "expected a header of at most {} bytes, got {}",
                           kMaxHeaderBytes, length)
                    .with_hint("is it a safetensors file?"));
  const std::span<const std::byte> rest = content.subspan(kLengthBytes);
  if (length > rest.size())
    return fail(ErrorKind::kInvalidFile,
                "expected a header of {} bytes, got the end of the file after {}", length,
                rest.size());
  const auto text = rest.first(static_cast<std::size_t>(length));
  const std::span<const std::byte> data = rest.subspan(text.size());
  ASSIGN_OR_RETURN(
      safetensors::Header header,
      safetensors::parse_header({reinterpret_cast<const char*>(text.data()), text.size()}));
  RETURN_IF_ERROR(safetensors::check_layout(header.tensors, data.size()));
  metadata_ = std::move(header.metadata);
  tensors_.reserve(header.tensors.size());
  for (safetensors::TensorInfo& info : header.tensors)
    tensors_.push_back({.name = std::move(info.name),
                        .dtype = info.dtype,
                        .shape = {info.shape.begin(), info.shape.end()},
                        .bytes = data.subspan(info.begin, info.end - info.begin)});
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorView& a, const TensorView& b) { return a.name < b.name; });
  return {};
} catch (const std::exception& exception) {
  return fail(ErrorKind::kInternal, "reading the header: {}", exception.what());
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto place = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const TensorView& tensor, std::string_view n) { return tensor.name < n; });
  return place != tensors_.end() && place->name == name ? &*place : nullptr;
}

}  // namespace strata
