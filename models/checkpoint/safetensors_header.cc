#include "models/checkpoint/safetensors_header.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace strata::safetensors {
namespace {

constexpr int kMaxDepth = 127;  // of nested JSON, as in the reference
constexpr std::string_view kMetadata = "__metadata__";
// The reference has no such limits. Readers keep more of an entry than its bytes in the file, and
// no checkpoint comes near.
constexpr std::size_t kMaxTensors = 100'000;
constexpr std::size_t kMaxMetadata = 100'000;
constexpr std::size_t kMaxDimensions = 64;
constexpr std::size_t kShownName = 200;  // bytes of a name in a message

std::string shown(std::string_view name) {
  if (name.size() <= kShownName) return std::string(name);
  std::size_t cut = kShownName;
  while (cut > 0 && (static_cast<unsigned char>(name[cut]) & 0xC0) == 0x80) --cut;
  return std::string(name.substr(0, cut)) + "…";
}

Error tensor_error(std::string_view name, const std::string& message) {
  return make_error(ErrorKind::kInvalidFile, "{}", message)
      .at(fmt::format("tensor '{}'", shown(name)));
}

// Follows the parser through {"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {string:
// string}}.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  Header header;
  std::optional<Error> error;

  bool null() override {
    if (depth_ == 1 && name_ == kMetadata) return true;  // the reference takes null for none
    return scalar("null");
  }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(std::int64_t value) override { return scalar(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) override { return scalar(text); }
  bool binary(nlohmann::json::binary_t&) override { return scalar("binary"); }

  bool number_unsigned(std::uint64_t value) override {
    if (depth_ == 3 && field_ == Field::kShape) {
      if (info_.shape.size() == kMaxDimensions)
        return refuse(
            fmt::format("shape: expected at most {} dimensions, got more", kMaxDimensions));
      info_.shape.push_back(value);
      return true;
    }
    if (depth_ == 3 && field_ == Field::kOffsets) {
      if (offsets_ == 2) return refuse("data_offsets: expected two numbers, got more");
      (offsets_++ == 0 ? info_.begin : info_.end) = value;
      return true;
    }
    return scalar(fmt::format("{}", value));
  }

  bool string(std::string& value) override {
    if (depth_ == 2 && in_metadata_) {
      header.metadata[key_] = std::move(value);
      if (header.metadata.size() > kMaxMetadata)
        return refuse_header(
            fmt::format("'__metadata__': expected at most {} entries, got more", kMaxMetadata));
      return true;
    }
    if (depth_ == 2 && field_ == Field::kDtype) {
      const auto dtype = parse_dtype(value);
      if (!dtype) return refuse(fmt::format("dtype: '{}' is not known", shown(value)));
      info_.dtype = *dtype;
      return true;
    }
    return scalar("a string");
  }

  bool start_object(std::size_t) override {
    if (depth_ == 1) {
      in_metadata_ = name_ == kMetadata;
      info_ = {};
      info_.name = name_;
      offsets_ = 0;
      has_dtype_ = has_shape_ = has_offsets_ = false;
      field_ = Field::kOther;
    } else if (depth_ > 1 && !scalar("an object")) {
      return false;
    }
    return descend();
  }

  bool start_array(std::size_t) override {
    const bool expected = depth_ == 2 && (field_ == Field::kShape || field_ == Field::kOffsets);
    if (!expected && !scalar("an array")) return false;
    return descend();
  }

  bool key(std::string& value) override {
    if (depth_ == 1) {
      name_ = std::move(value);
      if (name_ == kMetadata && std::exchange(metadata_seen_, true))
        return refuse_header("expected '__metadata__' once, got it twice");
    } else if (depth_ == 2 && in_metadata_) {
      key_ = std::move(value);
    } else if (depth_ == 2) {
      return tensor_field(value);
    }
    return true;
  }

  bool end_object() override {
    if (--depth_ == 1 && !in_metadata_) return finish_tensor();
    return true;
  }

  bool end_array() override {
    if (--depth_ == 2 && field_ == Field::kOffsets && offsets_ != 2)
      return refuse(fmt::format("data_offsets: expected two numbers, got {}", offsets_));
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception& exception) override {
    constexpr int kOutOfRange = 406;
    if (exception.id == kOutOfRange)
      return refuse_header(fmt::format("number out of range at byte {}", position));
    return refuse_header(fmt::format("invalid JSON or UTF-8 at byte {}", position));
  }

 private:
  enum class Field { kOther, kDtype, kShape, kOffsets };

  bool descend() {
    if (++depth_ > kMaxDepth)
      return refuse_header(fmt::format("expected at most {} nested values, got more", kMaxDepth));
    return true;
  }

  // A value that no rule above takes: right only inside a field that the format does not name.
  bool scalar(const std::string& got) {
    if (depth_ == 0) return refuse_header("expected an object, got " + got);
    if (depth_ == 1 && name_ == kMetadata)
      return refuse_header("'__metadata__': expected an object of strings, got " + got);
    if (depth_ == 1) return refuse("expected an object, got " + got);
    if (in_metadata_)
      return refuse_header(
          fmt::format("'__metadata__': '{}': expected a string, got {}", shown(key_), got));
    switch (field_) {
      case Field::kOther: return true;
      case Field::kDtype: return refuse("dtype: expected a string, got " + got);
      case Field::kShape: return refuse("shape: " + expected_numbers() + got);
      case Field::kOffsets: return refuse("data_offsets: " + expected_numbers() + got);
    }
    return false;
  }

  std::string expected_numbers() const {
    return depth_ == 2 ? "expected an array, got " : "expected unsigned 64-bit integers, got ";
  }

  bool tensor_field(const std::string& name) {
    field_ = Field::kOther;
    bool* seen = nullptr;
    if (name == "dtype") {
      field_ = Field::kDtype;
      seen = &has_dtype_;
    } else if (name == "shape") {
      field_ = Field::kShape;
      seen = &has_shape_;
    } else if (name == "data_offsets") {
      field_ = Field::kOffsets;
      seen = &has_offsets_;
    }
    if (seen != nullptr && std::exchange(*seen, true))
      return refuse(fmt::format("expected '{}' once, got it twice", name));
    return true;
  }

  bool finish_tensor() {
    const char* missing = !has_dtype_     ? "dtype"
                          : !has_shape_   ? "shape"
                          : !has_offsets_ ? "data_offsets"
                                          : nullptr;
    if (missing != nullptr) return refuse(fmt::format("expected '{}', which is missing", missing));
    const auto [place, is_new] = index_.try_emplace(info_.name, header.tensors.size());
    if (is_new && header.tensors.size() == kMaxTensors)
      return refuse_header(fmt::format("expected at most {} tensors, got more", kMaxTensors));
    if (is_new) header.tensors.emplace_back();
    header.tensors[place->second] = std::move(info_);
    return true;
  }

  bool refuse(const std::string& message) {
    error = tensor_error(name_, message).at("header");
    return false;
  }
  bool refuse_header(const std::string& message) {
    error = make_error(ErrorKind::kInvalidFile, "{}", message).at("header");
    return false;
  }

  int depth_ = 0;
  Field field_ = Field::kOther;  // of the tensor; kOther while in metadata
  bool in_metadata_ = false;
  bool metadata_seen_ = false;
  bool has_dtype_ = false, has_shape_ = false, has_offsets_ = false;
  int offsets_ = 0;
  std::string name_, key_;
  TensorInfo info_;
  std::unordered_map<std::string, std::size_t> index_;
};

// In the reference's order: [0, 2^63, 4] is empty, [2^63, 4, 0] overflows.
Result<std::uint64_t> size_in_bytes(const TensorInfo& info) {
  std::uint64_t bits = 1;
  bool overflow = false;
  for (const std::uint64_t dimension : info.shape)
    overflow = overflow || __builtin_mul_overflow(bits, dimension, &bits);
  overflow = overflow || __builtin_mul_overflow(bits, bits_per_element(info.dtype), &bits);
  if (overflow) return fail(tensor_error(info.name, "shape: the size overflows 64 bits"));
  if (bits % 8 != 0)
    return fail(tensor_error(info.name, fmt::format("expected whole bytes, got {} bits of {}", bits,
                                                    to_string(info.dtype))));
  for (const std::uint64_t dimension : info.shape)
    if (dimension > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return fail(tensor_error(info.name,
                               fmt::format("shape: expected less than 2^63, got {}", dimension)));
  return bits / 8;
}

Status check_place(const TensorInfo& info, std::uint64_t expected_begin) {
  const auto error = [&](std::string_view what) {
    return fail(tensor_error(info.name,
                             fmt::format("data_offsets [{}, {}]: {}", info.begin, info.end, what)));
  };
  if (info.begin != expected_begin)
    return error(fmt::format("expected to begin at {} ({})", expected_begin,
                             info.begin > expected_begin ? "a hole" : "an overlap"));
  if (info.end < info.begin) return error("expected the end not before the begin");
  ASSIGN_OR_RETURN(const std::uint64_t size, size_in_bytes(info));
  if (info.end - info.begin != size)
    return error(fmt::format("expected {} bytes for {} [{}], got {}", size, to_string(info.dtype),
                             fmt::join(info.shape, ", "), info.end - info.begin));
  return {};
}

}  // namespace

Result<Header> parse_header(std::string_view json) {
  const auto refuse = [](std::string message) {
    return fail(make_error(ErrorKind::kInvalidFile, "{}", message).at("header"));
  };
  if (json.empty() || json.front() != '{')
    return refuse("expected '{' as the first byte" +
                  (json.empty()
                       ? std::string(", got an empty header")
                       : fmt::format(", got 0x{:02x}", static_cast<unsigned char>(json.front()))));
  // The JSON library takes a zero byte for the end of its input.
  if (const std::size_t zero = json.find('\0'); zero != std::string_view::npos)
    return refuse(fmt::format("invalid JSON or UTF-8 at byte {}", zero + 1));
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(json.begin(), json.end(), &reader)) {
    STRATA_CHECK(reader.error.has_value());
    return fail(*std::move(reader.error));
  }
  return std::move(reader.header);
}

Status check_layout(std::vector<TensorInfo>& tensors, std::uint64_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::uint64_t end = 0;
  for (const TensorInfo& info : tensors) {
    RETURN_IF_ERROR(check_place(info, end));
    end = info.end;
  }
  if (end == data_bytes) return {};
  Error error = make_error(ErrorKind::kInvalidFile,
                           "expected {} bytes behind the header, as the tensors need, got {}", end,
                           data_bytes);
  if (end > data_bytes) error.hint = "the file is cut off: get it again";
  return fail(std::move(error));
}

}  // namespace strata::safetensors
