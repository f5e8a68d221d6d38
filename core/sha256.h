// SHA-256 (OpenSSL EVP), the content hash behind every id.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace strata {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::span<const std::byte> bytes);
  Sha256& update(std::string_view text);
  // Little-endian bytes of the value: field lengths in front of variable-length fields keep ids
  // unambiguous.
  Sha256& update_u64(std::uint64_t value);

  // Consumes the state: call once.
  std::array<std::uint8_t, 32> digest();
  std::string hex_digest();  // 64 lower-case hexadecimal digits

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string sha256_hex(std::string_view text);

}  // namespace strata
