// Random streams: a counter-based generator (Philox4x32-10; Salmon et al., SC 2011) and the
// distributions we need.
//
// A stream is (seed, purpose): the same pair gives the same numbers on every machine and compiler,
// and two purposes never share numbers. There is no global generator. std:: distributions differ
// between libraries, so none is used. An Rng is owned by one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace strata {

class Rng {
 public:
  Rng(std::uint64_t seed, std::string_view purpose);

  std::uint64_t next_u64();
  double uniform();                                           // [0, 1), 53 bits
  std::uint64_t below(std::uint64_t bound);                   // [0, bound), unbiased; bound ≥ 1
  std::int64_t between(std::int64_t low, std::int64_t high);  // [low, high]
  double normal();                                            // Box–Muller, mean 0, variance 1

  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }
  // k distinct numbers of [0, n), in the order drawn; k ≤ n.
  std::vector<std::size_t> sample(std::size_t n, std::size_t k);

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint64_t stream_;
  std::uint64_t counter_ = 0;
  std::array<std::uint32_t, 4> block_{};
  int used_ = 4;

  std::uint32_t next_u32();
};

// One Philox4x32-10 block, public for its known-answer test.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// The seed of a purpose under a parent seed (how `seed=` gives benchmark.seed, calibration.seed,
// strategy.seed); < 2^53, so that it survives JSON.
std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose);

}  // namespace strata
