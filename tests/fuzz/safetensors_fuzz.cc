// Whatever opens is well formed by a second, slow reading.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "models/checkpoint/safetensors.h"
#include "tests/fuzz/target.h"

namespace strata {
namespace {

using nlohmann::json;

// The header as a tree, the rules one by one.
void check_well_formed(std::string_view content, const SafetensorsFile& file) {
  std::uint64_t length = 0;
  STRATA_CHECK(content.size() >= 8);
  std::memcpy(&length, content.data(), 8);
  STRATA_CHECK(length <= content.size() - 8);
  const json header = json::parse(content.substr(8, length));
  const std::string_view data = content.substr(8 + length);
  std::vector<int> covered(data.size(), 0);
  std::size_t count = 0;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    ++count;
    const TensorView* tensor = file.find(name);
    STRATA_CHECK(tensor != nullptr, "{}", name);
    STRATA_CHECK(tensor->shape == value.at("shape").get<std::vector<std::int64_t>>(), "{}", name);
    STRATA_CHECK(to_string(tensor->dtype) == value.at("dtype").get<std::string>(), "{}", name);
    const auto begin = value.at("data_offsets").at(0).get<std::uint64_t>();
    const auto end = value.at("data_offsets").at(1).get<std::uint64_t>();
    STRATA_CHECK(begin <= end && end <= data.size(), "{}", name);
    long double bytes = bits_per_element(tensor->dtype) / 8.0L;
    for (const std::int64_t dimension : tensor->shape) bytes *= static_cast<long double>(dimension);
    STRATA_CHECK(bytes == static_cast<long double>(end - begin), "{}", name);
    STRATA_CHECK(tensor->bytes.size() == end - begin, "{}", name);
    const auto* expected = reinterpret_cast<const std::byte*>(data.data()) + begin;
    STRATA_CHECK(begin == end || tensor->bytes.data() == expected, "{}", name);
    for (std::uint64_t i = begin; i < end; ++i) ++covered[i];
  }
  STRATA_CHECK(count == file.tensors().size());
  STRATA_CHECK(std::all_of(covered.begin(), covered.end(), [](int times) { return times == 1; }));
}

}  // namespace

const fuzz::Format fuzz::kFormat{
    .name = "safetensors",
    .shape = Shape::kLengthAndHeader,
    .tokens = R"("dtype":"F32", "shape":[0], "data_offsets":[0,0], "__metadata__":{"a":"b"}, )"
              R"("__metadata__":null, "F4" "F8_E4M3" "BOOL" "BF16" "U64" "F6_E2M3" )"
              R"("x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}, "\u0000" null true)"};

}  // namespace strata

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer calls it so
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace strata;
  const auto file = SafetensorsFile::from_bytes(std::as_bytes(std::span(data, size)));
  if (!file) return 0;
  fuzz::accepted = true;
  check_well_formed({reinterpret_cast<const char*>(data), size}, *file);
  return 0;
}
