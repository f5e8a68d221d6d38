#include "models/checkpoint/safetensors_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>
#include <vector>

#include "core/atomic_file.h"

namespace strata {
namespace {

std::uint64_t expected_bytes(const TensorView& tensor) {
  std::uint64_t bits = bits_per_element(tensor.dtype);
  for (const std::int64_t dimension : tensor.shape) bits *= static_cast<std::uint64_t>(dimension);
  return bits / 8;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Status write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const std::map<std::string, std::string>& metadata) {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  // Wide dtypes first: each tensor is then aligned to its own.
  std::sort(order.begin(), order.end(), [](const TensorView* a, const TensorView* b) {
    return std::tuple(-static_cast<int>(a->dtype), std::string_view(a->name)) <
           std::tuple(-static_cast<int>(b->dtype), std::string_view(b->name));
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorView* tensor : order) {
    STRATA_CHECK(tensor->bytes.size() == expected_bytes(*tensor), "{}: {} bytes", tensor->name,
                 tensor->bytes.size());
    STRATA_CHECK(!header.contains(tensor->name), "{} twice", tensor->name);
    const std::uint64_t end = offset + tensor->bytes.size();
    header[tensor->name] = {{"dtype", to_string(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (std::size_t i = 0; i < 8; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xff);
  std::vector<std::string_view> parts = {length, text};
  for (const TensorView* tensor : order) parts.push_back(text_of(tensor->bytes));
  return write_atomically(path, parts);
}

}  // namespace strata
