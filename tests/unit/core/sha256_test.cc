#include "core/sha256.h"

#include <gtest/gtest.h>

namespace strata {
namespace {

TEST(Sha256Test, GivesThePublishedDigests) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, PiecesHashLikeTheWhole) {
  EXPECT_EQ(Sha256().update("a").update("bc").hex_digest(), sha256_hex("abc"));
  EXPECT_EQ(Sha256().update_u64(0x0807060504030201).hex_digest(),
            sha256_hex("\x01\x02\x03\x04\x05\x06\x07\x08"));
}

}  // namespace
}  // namespace strata
