// One head group's attention in every dtype and for batches, against loops in float64 over the same
// (rounded) numbers.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/tensor.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/rng.h"
#include "models/mixers/attention.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata {
namespace {

struct Shape {
  std::int64_t batch, kv_heads, group, begin, rows, head_dim, prompt_length;
  PaletteEntry entry;
  std::vector<double> sink_logits;  // a query head; empty = none
};

Shape random_shape(Rng& rng) {
  Shape s{rng.between(1, 3), rng.between(1, 2), rng.between(1, 3), 0, 0, 0, 0, {}, {}};
  const std::int64_t window = rng.between(1, 70), sinks = rng.between(0, 4);
  // 24: not what the AVX-512 kernel takes.
  constexpr std::int64_t kHeadDims[] = {16, 24, 48, 64, 80};
  s.head_dim = kHeadDims[rng.below(5)];
  s.begin = rng.below(3) == 0 ? 0 : rng.between(1, 150);
  s.rows = rng.below(5) == 0 ? 1 : rng.between(2, 130);
  s.prompt_length = rng.between(1, s.begin + s.rows);
  s.entry.rule = rng.below(2) == 0 ? DecodeRule::kSame : DecodeRule::kFull;
  if (rng.below(4) != 0) s.entry.mixer = SlidingWindow{window, sinks};
  if (rng.below(2) == 0)  // about as heavy as all keys together
    for (std::int64_t head = 0; head < s.kv_heads * s.group; ++head)
      s.sink_logits.push_back(3.0 + rng.normal());
  return s;
}

// softmax over what the oracle's statement of the rule lets a query see. Double, contiguous, CPU.
at::Tensor attend_slowly(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                         const Shape& s) {
  at::Tensor out = at::empty_like(q);
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  const auto at_row = [](const at::Tensor& x, std::int64_t b, std::int64_t h, std::int64_t r) {
    return x.mutable_data_ptr<double>() + ((b * x.size(1) + h) * x.size(2) + r) * x.size(3);
  };
  for (std::int64_t b = 0; b < s.batch; ++b)
    for (std::int64_t h = 0; h < s.kv_heads * s.group; ++h)
      for (std::int64_t i = 0; i < s.rows; ++i) {
        const double* query = at_row(q, b, h, i);
        double* to = at_row(out, b, h, i);
        std::vector<double> score;
        double most = -std::numeric_limits<double>::infinity(), total = 0;
        for (std::int64_t j = 0; j <= s.begin + i; ++j) {
          double dot = -std::numeric_limits<double>::infinity();
          if (testing::oracle_sees(s.entry, s.begin + i, j, s.prompt_length)) {
            dot = 0;
            for (std::int64_t d = 0; d < s.head_dim; ++d)
              dot += query[d] * at_row(k, b, h / s.group, j)[d] * scale;
          }
          score.push_back(dot);
          most = std::max(most, dot);
        }
        if (!s.sink_logits.empty())
          total += std::exp(s.sink_logits[static_cast<std::size_t>(h)] - most);
        for (double& value : score) total += value = std::exp(value - most);
        for (std::int64_t d = 0; d < s.head_dim; ++d) {
          to[d] = 0;
          for (std::size_t j = 0; j < score.size(); ++j)
            to[d] += score[j] / total * at_row(v, b, h / s.group, static_cast<std::int64_t>(j))[d];
        }
      }
  return out;
}

// All keys as one part, or, where nothing else is seen and half of the time, as a ring buffer has
// them: sinks and the last keys, what lies between dropped.
KeyView view_of(const at::Tensor& k, const at::Tensor& v, const Shape& s) {
  const auto* sliding = std::get_if<SlidingWindow>(&s.entry.mixer);
  const std::int64_t oldest = sliding == nullptr ? 0 : s.begin - sliding->window + 1;
  if (sliding == nullptr || s.entry.rule == DecodeRule::kFull || oldest <= sliding->sinks ||
      s.begin % 2 == 0)
    return {{}, {}, k, v, 0};
  const std::int64_t kept = s.begin + s.rows - oldest;
  KeyView view{{}, {}, k.narrow(2, oldest, kept), v.narrow(2, oldest, kept), oldest};
  if (sliding->sinks > 0) {
    view.sink_k_BGSD = k.narrow(2, 0, sliding->sinks);
    view.sink_v_BGSD = v.narrow(2, 0, sliding->sinks);
  }
  return view;
}

class AttentionTest : public testing::DeviceTest {
 protected:
  // Worst ‖out − slow‖ / ‖slow‖ over random shapes.
  double worst_error(at::ScalarType dtype, int cases) {
    const c10::InferenceMode inference;
    double worst = 0;
    for (int seed = 0; seed < cases; ++seed) {
      Rng rng(static_cast<std::uint64_t>(seed), "attention shapes");
      const Shape s = random_shape(rng);
      const std::int64_t length = s.begin + s.rows;
      const auto random = [&](std::int64_t heads, std::int64_t rows) {
        at::Tensor x = at::empty({s.batch, heads, rows, s.head_dim}, at::kDouble);
        for (std::int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<double>()[i] = rng.normal();
        return x.to(dtype).to(at::kDouble);
      };
      const at::Tensor q = random(s.kv_heads * s.group, s.rows);
      const at::Tensor k = random(s.kv_heads, length), v = random(s.kv_heads, length);
      const auto here = [&](const at::Tensor& x) { return x.to(device(), dtype); };
      at::Tensor sink_logits;
      if (!s.sink_logits.empty()) sink_logits = at::tensor(s.sink_logits, at::kDouble).to(device());
      // As the decoder has them: rows before heads in memory.
      const at::Tensor q_here = here(q).transpose(1, 2).contiguous().transpose(1, 2);
      at::Tensor out = at::full_like(q_here, std::numeric_limits<double>::quiet_NaN());
      attend(q_here, s.begin, view_of(here(k), here(v), s), s.entry, s.prompt_length, out,
             sink_logits);
      const at::Tensor slow = attend_slowly(q, k, v, s);
      const double error =
          ((out.to(at::kCPU, at::kDouble) - slow).pow(2).sum().sqrt() / slow.pow(2).sum().sqrt())
              .item<double>();
      worst = std::isnan(error) ? 1e9 : std::max(worst, error);
      if (s.rows == 1) {
        const at::Tensor all = attend_all(q_here, here(k), here(v), sink_logits);
        Shape full = s;
        full.entry.mixer = FullAttention{};
        const at::Tensor expected = attend_slowly(q, k, v, full);
        const double off = ((all.to(at::kCPU, at::kDouble) - expected).pow(2).sum().sqrt() /
                            expected.pow(2).sum().sqrt())
                               .item<double>();
        worst = std::isnan(off) ? 1e9 : std::max(worst, off);
      }
    }
    std::printf("%s %s: worst relative error over %d shapes %.1e\n", GetParam().c_str(),
                at::toString(dtype), cases, worst);
    return worst;
  }
};

TEST_P(AttentionTest, Float64) { EXPECT_LT(worst_error(at::kDouble, 100), 1e-12); }
TEST_P(AttentionTest, Float32) { EXPECT_LT(worst_error(at::kFloat, 100), 1e-5); }
TEST_P(AttentionTest, Bfloat16) { EXPECT_LT(worst_error(at::kBFloat16, 100), 1.2e-2); }

STRATA_ON_EVERY_DEVICE(AttentionTest);

}  // namespace
}  // namespace strata
