#include "core/rng.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "core/result.h"
#include "core/sha256.h"

namespace strata {
namespace {

std::array<std::uint64_t, 2> stream_words(std::uint64_t seed, std::string_view purpose) {
  const auto digest = Sha256().update_u64(seed).update(purpose).digest();
  std::array<std::uint64_t, 2> words{};
  for (std::size_t i = 0; i < 16; ++i) words[i / 8] |= std::uint64_t{digest[i]} << (8 * (i % 8));
  return words;
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = 0xD2511F53ULL * counter[0];
    const std::uint64_t product1 = 0xCD9E8D57ULL * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

Rng::Rng(std::uint64_t seed, std::string_view purpose) {
  const auto words = stream_words(seed, purpose);
  key_ = {static_cast<std::uint32_t>(words[0]), static_cast<std::uint32_t>(words[0] >> 32)};
  stream_ = words[1];
}

std::uint32_t Rng::next_u32() {
  if (used_ == 4) {
    block_ = philox4x32(
        {static_cast<std::uint32_t>(counter_), static_cast<std::uint32_t>(counter_ >> 32),
         static_cast<std::uint32_t>(stream_), static_cast<std::uint32_t>(stream_ >> 32)},
        key_);
    ++counter_;
    used_ = 0;
  }
  return block_[static_cast<std::size_t>(used_++)];
}

std::uint64_t Rng::next_u64() {
  const std::uint64_t low = next_u32();
  return low | (std::uint64_t{next_u32()} << 32);
}

double Rng::uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }

std::uint64_t Rng::below(std::uint64_t bound) {
  STRATA_CHECK(bound >= 1);
  // Reject the incomplete last block of multiples, so that every value is equally likely.
  const std::uint64_t limit = bound * (UINT64_MAX / bound);
  std::uint64_t value = next_u64();
  while (value >= limit) value = next_u64();
  return value % bound;
}

std::int64_t Rng::between(std::int64_t low, std::int64_t high) {
  STRATA_CHECK(low <= high, "{} {}", low, high);
  const std::uint64_t width =
      static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) + 1;
  return low + static_cast<std::int64_t>(below(width));
}

double Rng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::vector<std::size_t> Rng::sample(std::size_t n, std::size_t k) {
  STRATA_CHECK(k <= n, "{} {}", k, n);
  std::vector<std::size_t> indices(n);
  std::iota(indices.begin(), indices.end(), std::size_t{0});
  for (std::size_t i = 0; i < k; ++i) std::swap(indices[i], indices[i + below(n - i)]);
  indices.resize(k);
  return indices;
}

std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose) {
  return stream_words(seed, purpose)[0] >> 11;
}

}  // namespace strata
