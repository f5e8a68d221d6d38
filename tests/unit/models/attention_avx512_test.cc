// The AVX-512 kernel in each of its arithmetics, also those that this processor would not choose,
// against loops in float64 over the same (rounded) numbers.
#include "models/mixers/attention_avx512_kernel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "core/rng.h"

namespace strata::avx512 {
namespace {

using Numbers = std::vector<double>;

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<char, Free>;

Memory aligned_memory(std::size_t bytes) {
  return Memory(static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
}

// A matrix as the kernel gets it; `rounded` is what its elements are.
struct Elements {
  std::vector<char> bytes;
  Numbers rounded;
  std::size_t element = 4;

  Elements(Arithmetic arithmetic, std::size_t count, Rng& rng) {
    element = arithmetic == Arithmetic::kFloat ? 4 : 2;
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(rng.normal());
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      if (element == 2) bits &= 0xffff0000U;
      float kept = 0;
      std::memcpy(&kept, &bits, sizeof kept);
      rounded.push_back(kept);
      if (element == 2) bits >>= 16;
      const char* raw = reinterpret_cast<const char*>(&bits);
      bytes.insert(bytes.end(), raw, raw + element);
    }
  }
  const void* at(std::size_t index) const { return bytes.data() + index * element; }
};

struct Case {
  int head_dim, heads, rows;
  std::int64_t begin, window, sinks;
};

double worst_error(Arithmetic arithmetic, const Case& c, Rng& rng) {
  const std::int64_t keys = c.begin + c.rows;
  const auto dim = static_cast<std::size_t>(c.head_dim);
  const auto query_rows = static_cast<std::size_t>(c.heads * c.rows);
  const Elements q(arithmetic, query_rows * dim, rng);
  const Elements k(arithmetic, static_cast<std::size_t>(keys) * dim, rng);
  const Elements v(arithmetic, static_cast<std::size_t>(keys) * dim, rng);
  const std::size_t bytes = packed_bytes(arithmetic, c.head_dim);
  const auto blocks = static_cast<std::size_t>((keys + kBlockKeys - 1) / kBlockKeys);
  const Memory k_packed = aligned_memory(blocks * bytes), v_packed = aligned_memory(blocks * bytes);
  std::vector<std::int64_t> begins;
  for (std::size_t b = 0; b < blocks; ++b) {
    const void* k_rows[kBlockKeys];
    const void* v_rows[kBlockKeys];
    for (std::size_t j = 0; j < kBlockKeys; ++j) {
      const std::size_t position = b * kBlockKeys + j;
      const bool there = position < static_cast<std::size_t>(keys);
      k_rows[j] = there ? k.at(position * dim) : nullptr;
      v_rows[j] = there ? v.at(position * dim) : nullptr;
    }
    pack_block(arithmetic, c.head_dim, k_rows, v_rows, k_packed.get() + b * bytes,
               v_packed.get() + b * bytes);
    begins.push_back(static_cast<std::int64_t>(b) * kBlockKeys);
  }
  std::vector<char> out(query_rows * dim * q.element);
  Task task;
  task.arithmetic = arithmetic;
  task.head_dim = c.head_dim;
  task.heads = c.heads;
  task.rows = c.rows;
  task.begin = c.begin;
  task.window = c.window;
  task.sinks = c.sinks;
  task.q = q.at(0);
  task.out = out.data();
  task.q_row = task.out_row = c.head_dim;
  task.q_head = task.out_head = std::int64_t{c.rows} * c.head_dim;
  task.k_packed = k_packed.get();
  task.v_packed = v_packed.get();
  task.block_begins = begins.data();
  task.blocks = static_cast<int>(blocks);
  const Memory scratch = aligned_memory(scratch_bytes(task));
  run(task, scratch.get());

  double off = 0, all = 0;
  for (std::size_t row = 0; row < query_rows; ++row) {
    const auto position =
        c.begin + static_cast<std::int64_t>(row % static_cast<std::size_t>(c.rows));
    Numbers weights;
    double most = -std::numeric_limits<double>::infinity(), total = 0;
    for (std::int64_t key = 0; key <= position; ++key) {
      double dot = -std::numeric_limits<double>::infinity();
      if (key < c.sinks || key > position - c.window) {
        dot = 0;
        for (std::size_t d = 0; d < dim; ++d)
          dot += q.rounded[row * dim + d] * k.rounded[static_cast<std::size_t>(key) * dim + d];
        dot /= std::sqrt(static_cast<double>(c.head_dim));
      }
      weights.push_back(dot);
      most = std::max(most, dot);
    }
    for (double& weight : weights) total += weight = std::exp(weight - most);
    for (std::size_t d = 0; d < dim; ++d) {
      double expected = 0;
      for (std::size_t key = 0; key < weights.size(); ++key)
        expected += weights[key] / total * v.rounded[key * dim + d];
      std::uint32_t bits = 0;
      std::memcpy(&bits, out.data() + (row * dim + d) * q.element, q.element);
      if (q.element == 2) bits <<= 16;
      float got = 0;
      std::memcpy(&got, &bits, sizeof got);
      off += (got - expected) * (got - expected);
      all += expected * expected;
    }
  }
  const double error = std::sqrt(off / all);
  return std::isnan(error) ? 1e9 : error;
}

double worst_of_all(Arithmetic arithmetic) {
  Rng rng(9, "avx512");
  double worst = 0;
  for (const int head_dim : {16, 48, 64, 256})
    for (const std::int64_t begin : {0, 63, 200})
      for (const std::int64_t window : {1, 5, 64, 130, 1000})
        for (const std::int64_t sinks : {0, 1, 70})
          for (const int heads : {1, 3})
            worst =
                std::max(worst, worst_error(arithmetic,
                                            {head_dim, heads, static_cast<int>(rng.between(1, 70)),
                                             begin, window, sinks},
                                            rng));
  std::printf("worst relative error over 360 shapes %.1e\n", worst);
  return worst;
}

TEST(AttentionAvx512, Float32) {
  if (!supported()) GTEST_SKIP() << "this processor has no AVX-512";
  EXPECT_LT(worst_of_all(Arithmetic::kFloat), 2e-6);
}

TEST(AttentionAvx512, Bfloat16WithItsOwnProducts) {
  if (!supports_bf16_products()) GTEST_SKIP() << "this processor has no BF16 products";
  EXPECT_LT(worst_of_all(Arithmetic::kBfloat16), 1e-2);
}

TEST(AttentionAvx512, Bfloat16InFloat32Arithmetic) {
  if (!supported()) GTEST_SKIP() << "this processor has no AVX-512";
  EXPECT_LT(worst_of_all(Arithmetic::kBfloat16AsFloat), 4e-3);
}

// The kernel's softmax adds up what it has seen so far: a maximum that comes late must not lose
// what came early, and a row that sees nothing of its first blocks must not count them.
TEST(AttentionAvx512, ARowThatSeesNothingOfTheFirstBlocksIsRight) {
  if (!supported()) GTEST_SKIP() << "this processor has no AVX-512";
  Rng rng(3, "avx512 late");
  EXPECT_LT(worst_error(Arithmetic::kFloat, {64, 1, 64, 400, 2, 0}, rng), 2e-6);
}

}  // namespace
}  // namespace strata::avx512
