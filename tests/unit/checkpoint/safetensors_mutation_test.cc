// Broken files by the ten thousand: no crash, and whatever opens is well formed by a second, slow
// reading.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/rng.h"
#include "models/checkpoint/safetensors.h"
#include "tests/unit/checkpoint/model_files.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr int kMutations = 30'000;
constexpr std::uint64_t kSeed = 20240607;

std::string mutate(std::string content, Rng& rng) {
  static constexpr std::string_view kBytes = "0123456789-.eE\"\\{}[],: \n\0\xff\xc3xU8F";
  const std::int64_t changes = rng.between(1, 3);
  for (std::int64_t change = 0; change < changes && !content.empty(); ++change) {
    // Half of all changes hit the header's first 300 bytes behind the length, the rest anything.
    const std::size_t range =
        std::min<std::size_t>(content.size(), rng.below(2) == 0 ? 300 : content.size());
    const std::size_t at = rng.below(range);
    const char byte = kBytes[rng.below(kBytes.size())];
    switch (rng.below(7)) {
      case 0: content[at] = static_cast<char>(rng.below(256)); break;
      case 1: content[at] = byte; break;
      case 2: content.insert(at, 1, byte); break;
      case 3: content.erase(at, 1 + rng.below(4)); break;
      case 4: content.resize(at); break;
      case 5: content += content.substr(at, rng.below(40)); break;
      case 6: content.insert(rng.below(content.size()), content.substr(at, rng.below(60))); break;
    }
  }
  return content;
}

// Changes one number of the header, so that many mutations get past the JSON, and sets the header's
// length anew.
std::string mutate_header(const std::string& content, std::size_t header_size, Rng& rng) {
  std::string header = content.substr(8, header_size);
  std::vector<std::size_t> digits;
  for (std::size_t i = 0; i < header.size(); ++i)
    if (header[i] >= '0' && header[i] <= '9') digits.push_back(i);
  const std::size_t at = digits[rng.below(digits.size())];
  static const std::vector<std::string> kNumbers{
      "0",          "1",   "2", "8", "16", "18446744073709551615", "9223372036854775808",
      "4294967296", "1e3", "-4"};
  header.replace(at, 1, kNumbers[rng.below(kNumbers.size())]);
  std::string out;
  for (unsigned shift = 0; shift < 64; shift += 8)
    out += static_cast<char>(header.size() >> shift & 0xff);
  return out + header + content.substr(8 + header_size);
}

// The slow twin: the header as a tree, the rules one by one. False: not well formed.
bool is_well_formed(std::string_view content, const SafetensorsFile& file) {
  std::uint64_t length = 0;
  if (content.size() < 8) return false;
  std::memcpy(&length, content.data(), 8);
  if (length > content.size() - 8) return false;
  const json header = json::parse(content.substr(8, length));
  const std::string_view data = content.substr(8 + length);
  std::vector<int> covered(data.size(), 0);
  std::size_t count = 0;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") continue;
    ++count;
    const TensorView* tensor = file.find(name);
    if (tensor == nullptr || tensor->shape != value.at("shape").get<std::vector<std::int64_t>>())
      return false;
    const auto begin = value.at("data_offsets").at(0).get<std::uint64_t>();
    const auto end = value.at("data_offsets").at(1).get<std::uint64_t>();
    if (begin > end || end > data.size()) return false;
    long double bytes = bits_per_element(tensor->dtype) / 8.0L;
    for (const std::int64_t dimension : tensor->shape) bytes *= static_cast<long double>(dimension);
    if (bytes != static_cast<long double>(end - begin) || tensor->bytes.size() != end - begin)
      return false;
    const auto* expected = reinterpret_cast<const std::byte*>(data.data()) + begin;
    if (begin != end && tensor->bytes.data() != expected) return false;
    for (std::uint64_t i = begin; i < end; ++i) ++covered[i];
  }
  return count == file.tensors().size() &&
         std::all_of(covered.begin(), covered.end(), [](int times) { return times == 1; });
}

TEST(SafetensorsMutation, WhateverOpensIsWellFormed) {
  const std::string valid = testing::safetensors_bytes({{"a", {2, 3}},
                                                        {"b", {0, 7}, "I64"},
                                                        {"c", {5}, "U8"},
                                                        {"d", {}, "BF16"},
                                                        {"e.weight", {4, 4}, "F16"}});
  const std::size_t header_size = valid.size() - 24 - 5 - 2 - 32 - 8;
  ASSERT_TRUE(SafetensorsFile::from_bytes(testing::bytes_of(valid)));
  Rng rng(kSeed, "safetensors mutations");
  int accepted = 0;
  for (int i = 0; i < kMutations; ++i) {
    const std::string content =
        rng.below(2) == 0 ? mutate(valid, rng) : mutate_header(valid, header_size, rng);
    // A buffer of exactly this size, so that a sanitizer sees a read behind it.
    const std::vector<char> exact(content.begin(), content.end());
    const auto file = SafetensorsFile::from_bytes(std::as_bytes(std::span(exact)));
    if (!file) continue;
    ++accepted;
    ASSERT_TRUE(is_well_formed({exact.data(), exact.size()}, *file))
        << "seed " << kSeed << ", mutation " << i << ": " << content;
  }
  // Both sides of the border were visited.
  EXPECT_GT(accepted, kMutations / 100);
  EXPECT_LT(accepted, kMutations / 2);
}

}  // namespace
}  // namespace strata
