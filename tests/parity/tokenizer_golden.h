// What the tests of tokenizers share: the golden files of tools/make_tokenizer_golden.py.
#pragma once

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/sha256.h"
#include "core/tokens.h"

namespace strata {

inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

inline std::filesystem::path golden(const std::string& name) {
  return std::filesystem::path(
             environment("STRATA_SOURCE_DIR").empty() ? "." : environment("STRATA_SOURCE_DIR")) /
         "tests" / "golden" / name;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  EXPECT_TRUE(file.good()) << path;
  return bytes.str();
}

inline std::string gunzip(const std::filesystem::path& path) {
  std::string out;
  const gzFile file = gzopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr) << path;
  if (file == nullptr) return out;
  std::array<char, 1 << 16> block{};
  for (int got = 0; (got = gzread(file, block.data(), block.size())) > 0;) {
    out.append(block.data(), static_cast<std::size_t>(got));
  }
  EXPECT_EQ(gzclose(file), Z_OK) << path;
  return out;
}

inline std::size_t take_varint(std::string_view& bytes) {
  std::size_t value = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto byte = static_cast<std::uint8_t>(bytes.at(0));
    bytes.remove_prefix(1);
    value |= std::size_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return value;
  }
}

inline void put_varint(std::size_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}

inline std::string packed(const Tokens& ids) {
  std::string out;
  put_varint(ids.size(), out);
  for (const TokenId id : ids) put_varint(static_cast<std::size_t>(id), out);
  return out;
}

// What golden files hold of ids where these would be too long: 8 bytes of a SHA-256, as hex.
inline std::string ids_hash(const Tokens& ids) { return sha256_hex(packed(ids)).substr(0, 16); }

// Where tools/setup puts models and tokenizers.
inline std::filesystem::path cache_dir() {
  const std::string cache = environment("XDG_CACHE_HOME");
  const auto base = cache.empty() ? std::filesystem::path(environment("HOME")) / ".cache"
                                  : std::filesystem::path(cache);
  return base / "strata";
}

inline std::filesystem::path default_model_dir() {
  if (const std::string given = environment("STRATA_SMOLLM2"); !given.empty()) return given;
  return cache_dir() / "models" / "smollm2-135m-instruct";
}

inline std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  const std::string bytes = gunzip(golden("tokenizer_texts.bin.gz"));
  for (std::string_view rest = bytes; !rest.empty();) {
    const std::size_t size = take_varint(rest);
    texts.emplace_back(rest.substr(0, size));
    rest.remove_prefix(size);
  }
  return texts;
}

// Compares the CRC-32 of each block of records with the golden ones; `record(i)` belongs to
// texts[i].
template <typename Record>
void expect_crcs(const nlohmann::json& expected, std::size_t block,
                 const std::vector<std::string>& texts, Record record, const std::string& what) {
  ASSERT_EQ(expected.size(), (texts.size() + block - 1) / block);
  for (std::size_t begin = 0; begin < texts.size(); begin += block) {
    std::string bytes;
    for (std::size_t i = begin; i < std::min(begin + block, texts.size()); ++i) bytes += record(i);
    const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
    ASSERT_EQ(crc, expected[begin / block].template get<std::uint64_t>())
        << what << ": texts " << begin << " to " << begin + block << " of "
        << "tokenizer_texts.bin.gz; the first is " << texts[begin];
  }
}

}  // namespace strata
