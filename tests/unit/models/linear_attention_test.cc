// The three linear mixers and the short convolution against loops over doubles, and the properties
// that the header promises. Long, as each property is asked of all kinds in one place.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "core/rng.h"
#include "models/mixers/lightning_in_place.h"
#include "models/mixers/linear_attention.h"
#include "tests/unit/models/device_test.h"
#include "tests/unit/models/linear_oracle.h"

namespace strata {
namespace {

using testing::linear_oracle;
using testing::LinearInputs;
using testing::LinearOracle;
using testing::LinearShape;
using testing::random_tensor;
using Kind = LinearInputs::Kind;

constexpr Kind kKinds[] = {Kind::kLightning, Kind::kGla, Kind::kGatedDeltanet};
constexpr const char* kNames[] = {"lightning", "gla", "gated_deltanet"};

double draw_gate(Rng& rng) { return -std::exp(1.5 * rng.normal() - 1); }
// Nothing is kept, everything is kept, and what lies between.
double draw_extreme_gate(Rng& rng) {
  constexpr double kGates[] = {-std::numeric_limits<double>::infinity(), -30, -30, -5, -1e-3, 0};
  return kGates[rng.below(6)];
}
double draw_normal(Rng& rng) { return rng.normal(); }

LinearInputs random_inputs(Kind kind, const LinearShape& shape, Rng& rng,
                           const testing::Draw& gate = draw_gate) {
  return testing::random_linear_inputs(kind, shape, rng, gate);
}

LinearOutput chunked(const LinearInputs& in, std::int64_t chunk) {
  const LinearState state{in.start};
  if (in.kind == Kind::kLightning) return lightning(in.q, in.k, in.v, in.gates, state, chunk);
  if (in.kind == Kind::kGla) return gla(in.q, in.k, in.v, in.gates, state, chunk);
  return gated_deltanet(in.q, in.k, in.v, in.gates, in.beta, state, chunk);
}

LinearOutput stepped(const LinearInputs& in) {
  std::vector<at::Tensor> outs;
  LinearState state{in.start};
  for (std::int64_t row = 0; row < in.rows(); ++row) {
    const LinearInputs one = in.part(row, 1, state.s_BHKV);
    const LinearOutput step =
        in.kind == Kind::kLightning ? lightning_step(one.q, one.k, one.v, one.gates, state)
        : in.kind == Kind::kGla
            ? gla_step(one.q, one.k, one.v, one.gates, state)
            : gated_deltanet_step(one.q, one.k, one.v, one.gates, one.beta, state);
    outs.push_back(step.out_BHNV);
    state = step.state;
  }
  return {at::cat(outs, 2), state};
}

// ‖x − expected‖ / ‖expected‖; where a number is none, huge.
double difference(const at::Tensor& x, const at::Tensor& expected) {
  const at::Tensor wide = expected.to(at::kCPU, at::kDouble);
  const double error =
      (at::linalg_vector_norm(x.to(at::kCPU, at::kDouble) - wide) / at::linalg_vector_norm(wide))
          .item<double>();
  return std::isnan(error) ? 1e9 : error;
}

double difference(const at::Tensor& x, std::vector<double> expected) {
  return difference(x, at::from_blob(expected.data(), x.sizes(), at::kDouble));
}

class LinearAttentionTest : public testing::DeviceTest {
 protected:
  // The numbers in `dtype`; the start state in the type of sums.
  LinearInputs here(const LinearInputs& in, at::ScalarType dtype = at::kDouble) const {
    LinearInputs moved = in.each([&](const at::Tensor& x) { return x.to(device(), dtype); });
    moved.start = in.start.to(device(), dtype == at::kDouble ? at::kDouble : at::kFloat);
    return moved;
  }

  using Gradients = std::vector<at::Tensor>;
  // Of Σ v · out + Σ state by each input, through the chunked form; chunk 0: through the steps.
  Gradients gradients(const LinearInputs& in, at::ScalarType dtype, std::int64_t chunk) const {
    LinearInputs leaves = here(in, dtype);
    std::vector<at::Tensor> inputs;
    for (at::Tensor* tensor : leaves.all())
      inputs.push_back(*tensor = tensor->detach().clone().requires_grad_());
    const LinearOutput output = chunk == 0 ? stepped(leaves) : chunked(leaves, chunk);
    return torch::autograd::grad({output.out_BHNV, output.state.s_BHKV}, inputs,
                                 {leaves.v.detach(), at::ones_like(leaves.start)});
  }

  struct Errors {
    double out = 0, state = 0;
  };
  // The worst of both forms over random shapes.
  Errors worst_errors(at::ScalarType dtype, int cases,
                      const testing::Draw& gate = draw_gate) const {
    Errors worst;
    for (const Kind kind : kKinds) {
      Errors of_kind;
      for (int seed = 0; seed < cases; ++seed) {
        Rng rng(static_cast<std::uint64_t>(seed), "linear attention");
        constexpr std::int64_t kChunks[] = {1, 2, 3, 5, 8, 16, 17, 64};
        const std::int64_t chunk = kChunks[rng.below(8)];
        const std::int64_t lengths[] = {
            1, std::max<std::int64_t>(chunk - 1, 1), chunk, chunk + 1, 97, rng.between(2, 130)};
        const LinearShape shape{rng.between(1, 3), rng.between(1, 3), lengths[rng.below(6)],
                                rng.between(1, 20), rng.between(1, 20)};
        // The loops get the rounded numbers.
        const LinearInputs in =
            random_inputs(kind, shape, rng, gate).each([&](const at::Tensor& x) {
              return x.to(dtype).to(at::kDouble);
            });
        const LinearOracle slow = linear_oracle(in);
        for (const LinearOutput& output :
             {chunked(here(in, dtype), chunk), stepped(here(in, dtype))}) {
          EXPECT_EQ(output.out_BHNV.scalar_type(), dtype);
          of_kind.out = std::max(of_kind.out, difference(output.out_BHNV, slow.out));
          of_kind.state = std::max(of_kind.state, difference(output.state.s_BHKV, slow.state));
        }
      }
      std::printf("%s %s %s: worst relative errors over %d shapes %.1e (out), %.1e (state)\n",
                  GetParam().c_str(), at::toString(dtype), kNames[static_cast<int>(kind)], cases,
                  of_kind.out, of_kind.state);
      worst = {std::max(worst.out, of_kind.out), std::max(worst.state, of_kind.state)};
    }
    return worst;
  }
};

TEST_P(LinearAttentionTest, Float64) {
  const Errors errors = worst_errors(at::kDouble, 60);
  EXPECT_LT(errors.out, 1e-11);
  EXPECT_LT(errors.state, 1e-11);
}
TEST_P(LinearAttentionTest, Float32) {
  const Errors errors = worst_errors(at::kFloat, 40);
  EXPECT_LT(errors.out, 1e-5);
  EXPECT_LT(errors.state, 1e-5);
}
TEST_P(LinearAttentionTest, HalvesAreSummedInFloat32) {
  const Errors bfloat = worst_errors(at::kBFloat16, 40);
  EXPECT_LT(bfloat.out, 4e-3);
  EXPECT_LT(bfloat.state, 1e-5);
  const Errors half = worst_errors(at::kHalf, 40);
  EXPECT_LT(half.out, 5e-4);
  EXPECT_LT(half.state, 1e-5);
}
// Where nobody asks for gradients a GPU rounds what lies between two products.
TEST_P(LinearAttentionTest, HalvesWithoutGradientsAreThatWithinTheirRounding) {
  const at::NoGradGuard no_grad;
  const Errors errors = worst_errors(at::kBFloat16, 40);
  EXPECT_LT(errors.out, 2e-2);
  EXPECT_LT(errors.state, 1e-2);
  // Over more rows than are taken at once, against float64 on the same rounded numbers.
  Rng rng(7, "long");
  const LinearInputs in =
      random_inputs(Kind::kLightning, {1, 2, 20000, 16, 16}, rng).each([](const at::Tensor& x) {
        return x.to(at::kBFloat16).to(at::kDouble);
      });
  const LinearOutput exact = chunked(in, 64), here_too = chunked(here(in, at::kBFloat16), 64);
  EXPECT_LT(difference(here_too.out_BHNV, exact.out_BHNV), 2e-2);
  EXPECT_LT(difference(here_too.state.s_BHKV, exact.state.s_BHKV), 1e-2);
}
// What a GPU does without gradients, on any device, in types whose digits show a wrong factor.
TEST_P(LinearAttentionTest, InPlaceIsTheRecurrenceToo) {
  const at::NoGradGuard no_grad;
  for (int seed = 0; seed < 60; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "in place");
    const std::int64_t chunk = rng.between(1, 20);
    const LinearShape shape{rng.between(1, 3), rng.between(1, 3), rng.between(1, 130),
                            rng.between(1, 20), rng.between(1, 20)};
    const LinearInputs in =
        random_inputs(Kind::kLightning, shape, rng, seed % 3 == 0 ? draw_extreme_gate : draw_gate);
    const LinearOracle slow = linear_oracle(in);
    const LinearInputs wide = here(in);
    const at::Tensor start = wide.start.clone();
    const LinearOutput output =
        lightning_in_place(wide.q, wide.k, wide.v, wide.gates, {wide.start}, chunk);
    EXPECT_LT(difference(output.out_BHNV, slow.out), 1e-12) << seed;
    EXPECT_LT(difference(output.state.s_BHKV, slow.state), 1e-12) << seed;
    EXPECT_TRUE(at::equal(wide.start, start)) << "wrote into its start";
  }
  // More rows than a slab has, so that heads' rows do not lie together.
  Rng rng(8, "long");
  const LinearInputs in = random_inputs(Kind::kLightning, {1, 3, 70001, 6, 5}, rng),
                     wide = here(in);
  const LinearOutput whole =
      lightning_in_place(wide.q, wide.k, wide.v, wide.gates, {wide.start}, 64);
  const LinearOracle loops = linear_oracle(in);
  EXPECT_LT(difference(whole.out_BHNV, loops.out), 1e-12);
  EXPECT_LT(difference(whole.state.s_BHKV, loops.state), 1e-12);
}
TEST_P(LinearAttentionTest, ExtremeGatesKeepTheirDigits) {
  const Errors mixed = worst_errors(at::kFloat, 40, draw_extreme_gate);
  EXPECT_LT(mixed.out, 1e-5);
  EXPECT_LT(mixed.state, 1e-5);
  for (const double gate : {-30.0, 0.0}) {
    const Errors constant = worst_errors(at::kFloat, 10, [&](Rng&) { return gate; });
    EXPECT_LT(constant.out, 1e-5) << gate;
    EXPECT_LT(constant.state, 1e-5) << gate;
  }
}

TEST_P(LinearAttentionTest, WeakGatesBehindStrongOnesKeepTheirDigits) {
  for (const Kind kind : {Kind::kGla, Kind::kGatedDeltanet}) {
    Rng rng(2, "gates behind gates");
    LinearInputs in = random_inputs(kind, {1, 1, 64, 4, 4}, rng, [](Rng&) { return -1e-2; });
    in.gates.narrow(2, 0, 48).fill_(-29.9);
    in = in.each([](const at::Tensor& x) { return x.to(at::kFloat).to(at::kDouble); });
    const LinearOutput output = chunked(here(in, at::kFloat), 64);
    EXPECT_LT(difference(output.out_BHNV, linear_oracle(in).out), 2e-6)
        << kNames[static_cast<int>(kind)];
    EXPECT_LT(difference(output.state.s_BHKV, linear_oracle(in).state), 2e-6);
  }
}

TEST_P(LinearAttentionTest, LongSequencesAndTheirGradientsAreThoseOfTheSteps) {
  for (const Kind kind : kKinds) {
    Rng rng(11, "long");
    const LinearInputs in = random_inputs(kind, {1, 2, 2100, 4, 3}, rng);
    EXPECT_LT(difference(chunked(here(in), 64).out_BHNV, linear_oracle(in).out), 1e-12);
    const Gradients by_chunks = gradients(in, at::kDouble, 64),
                    by_steps = gradients(in, at::kDouble, 0);
    for (std::size_t i = 0; i < by_steps.size(); ++i)
      EXPECT_LT(difference(by_chunks[i], by_steps[i]), 1e-12)
          << kNames[static_cast<int>(kind)] << " input " << i;
  }
}

TEST_P(LinearAttentionTest, CuttingASequenceAnywhereChangesNothing) {
  for (const Kind kind : kKinds) {
    Rng rng(3, "cuts");
    const LinearInputs in = here(random_inputs(kind, {2, 2, 23, 5, 3}, rng));
    const LinearOutput whole = chunked(in, 8);
    for (std::int64_t cut = 1; cut < in.rows(); ++cut) {
      const LinearOutput first = chunked(in.part(0, cut, in.start), 8);
      const LinearInputs rest = in.part(cut, in.rows() - cut, first.state.s_BHKV);
      for (const LinearOutput& second : {chunked(rest, 8), stepped(rest)}) {
        EXPECT_LT(difference(at::cat({first.out_BHNV, second.out_BHNV}, 2), whole.out_BHNV), 1e-12)
            << kNames[static_cast<int>(kind)] << " cut at " << cut;
        EXPECT_LT(difference(second.state.s_BHKV, whole.state.s_BHKV), 1e-12);
      }
    }
  }
}

TEST_P(LinearAttentionTest, ASnapshotGoesOnToTheBit) {
  for (const Kind kind : kKinds) {
    Rng rng(4, "snapshots");
    const LinearInputs in = here(random_inputs(kind, {2, 2, 20, 5, 3}, rng), at::kFloat);
    const LinearState snapshot = chunked(in.part(0, 11, in.start), 8).state;
    const LinearState own = snapshot.clone();
    EXPECT_NE(own.s_BHKV.data_ptr(), snapshot.s_BHKV.data_ptr());
    const LinearOutput once = stepped(in.part(11, 9, snapshot.s_BHKV));
    EXPECT_TRUE(at::equal(snapshot.s_BHKV, own.s_BHKV)) << "decoding wrote into its start";
    EXPECT_FALSE(at::equal(once.state.s_BHKV, own.s_BHKV));
    const LinearOutput again = stepped(in.part(11, 9, own.s_BHKV));
    EXPECT_TRUE(at::equal(once.out_BHNV, again.out_BHNV));
    EXPECT_TRUE(at::equal(once.state.s_BHKV, again.state.s_BHKV));
  }
}

TEST_P(LinearAttentionTest, AStateIsAsLargeAfterAHundredRowsAsBeforeTheFirst) {
  for (const Kind kind : kKinds)
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
      Rng rng(5, "sizes");
      LinearInputs in = here(random_inputs(kind, {2, 3, 100, 5, 4}, rng), dtype);
      const LinearState zeros = LinearState::zeros(2, 3, 5, 4, in.q.options());
      const std::uint64_t bytes = dtype == at::kDouble ? 960 : 480;  // 2 · 3 · 5 · 4 numbers
      EXPECT_EQ(zeros.bytes(), bytes);
      in.start = zeros.s_BHKV;
      for (const LinearState& state : {chunked(in, 16).state, stepped(in).state}) {
        EXPECT_EQ(state.bytes(), bytes);
        EXPECT_EQ(state.s_BHKV.storage().nbytes(), bytes) << "a view of more";
      }
    }
}

TEST_P(LinearAttentionTest, NoRowSeesALaterOneToTheBit) {
  for (const Kind kind : kKinds)
    for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
      Rng rng(6, "causality");
      const LinearShape shape{2, 2, 37, 6, 5};
      const LinearInputs in = random_inputs(kind, shape, rng),
                         other = random_inputs(kind, shape, rng);
      const at::Tensor before = chunked(here(in, dtype), 16).out_BHNV;
      for (std::int64_t row = 0; row < shape.rows; ++row) {
        LinearInputs changed = in, source = other;
        const std::vector<at::Tensor*> to = changed.by_row(), from = source.by_row();
        for (std::size_t i = 0; i < to.size(); ++i)
          *to[i] =
              at::cat({to[i]->narrow(2, 0, row), from[i]->narrow(2, row, shape.rows - row)}, 2);
        const at::Tensor after = chunked(here(changed, dtype), 16).out_BHNV;
        EXPECT_TRUE(at::equal(before.narrow(2, 0, row), after.narrow(2, 0, row)))
            << kNames[static_cast<int>(kind)] << " row " << row;
        EXPECT_FALSE(at::equal(before.narrow(2, row, 1), after.narrow(2, row, 1)));
      }
    }
}

// A sum of all outputs with random weights, and what autograd says of it.
double weighted(std::span<const double> values, const at::Tensor& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += values[i] * weights.const_data_ptr<double>()[i];
  return sum;
}

TEST_P(LinearAttentionTest, GradientsAreThoseOfTheLoops) {
  for (const Kind kind : kKinds) {
    Rng rng(7, "gradients");
    const LinearInputs in = random_inputs(kind, {2, 2, 11, 3, 2}, rng);
    const at::Tensor of_out = random_tensor(in.v.sizes(), rng, draw_normal);
    const at::Tensor of_state = random_tensor(in.start.sizes(), rng, draw_normal);
    const auto slow_loss = [&](const LinearInputs& at) {
      const LinearOracle slow = linear_oracle(at);
      return weighted(slow.out, of_out) + weighted(slow.state, of_state);
    };
    LinearInputs leaves = here(in);
    std::vector<at::Tensor> inputs;
    for (at::Tensor* tensor : leaves.all())
      inputs.push_back(*tensor = tensor->detach().clone().requires_grad_());
    for (const LinearOutput& output : {chunked(leaves, 4), stepped(leaves)}) {
      const auto gradients = torch::autograd::grad({output.out_BHNV, output.state.s_BHKV}, inputs,
                                                   {of_out.to(device()), of_state.to(device())});
      LinearInputs moved = in.each([](const at::Tensor& x) { return x.clone(); });
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const at::Tensor gradient = gradients[i].to(at::kCPU).contiguous();
        const auto values = std::span(moved.all()[i]->mutable_data_ptr<double>(),
                                      static_cast<std::size_t>(gradient.numel()));
        for (std::size_t j = 0; j < values.size(); ++j) {
          constexpr double kStep = 1e-5;
          const double value = values[j];
          values[j] = value + kStep;
          const double above = slow_loss(moved);
          values[j] = value - kStep;
          const double below = slow_loss(moved);
          values[j] = value;
          const double expected = (above - below) / (2 * kStep);
          ASSERT_NEAR(gradient.const_data_ptr<double>()[j], expected,
                      2e-7 * (1 + std::abs(expected)))
              << kNames[static_cast<int>(kind)] << " input " << i << " element " << j;
        }
      }
    }
  }
}

TEST_P(LinearAttentionTest, GradientsUnderExtremeGatesAreThoseOfFloat64Steps) {
  for (const Kind kind : kKinds) {
    Rng rng(8, "extreme gradients");
    const LinearInputs in =
        random_inputs(kind, {1, 2, 70, 6, 5}, rng, draw_extreme_gate).each([](const at::Tensor& x) {
          return x.to(at::kFloat).to(at::kDouble);
        });
    const Gradients narrow = gradients(in, at::kFloat, 32), wide = gradients(in, at::kDouble, 0);
    for (std::size_t i = 0; i < wide.size(); ++i)
      EXPECT_LT(difference(narrow[i], wide[i]), 1e-5)
          << kNames[static_cast<int>(kind)] << " input " << i;
  }
}

TEST_P(LinearAttentionTest, ShortConvolutionIsTheSumOverItsTaps) {
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-14}, std::pair{at::kFloat, 1e-6}, std::pair{at::kBFloat16, 4e-3}})
    for (const std::int64_t width : {1, 2, 4}) {
      Rng rng(static_cast<std::uint64_t>(width), "short convolution");
      const std::int64_t rows = 9, channels = 5;
      const auto rounded = [&, type = dtype](at::IntArrayRef sizes) {
        return random_tensor(sizes, rng, draw_normal).to(type).to(at::kDouble);
      };
      const at::Tensor tail = rounded({2, width - 1, channels}), x = rounded({2, rows, channels});
      const at::Tensor weight = rounded({channels, width});
      const at::Tensor seen = at::cat({tail, x}, 1).contiguous();
      std::vector<double> expected;
      for (std::int64_t b = 0; b < 2; ++b)
        for (std::int64_t t = 0; t < rows; ++t)
          for (std::int64_t c = 0; c < channels; ++c) {
            double sum = 0;
            for (std::int64_t back = 0; back < width; ++back)
              sum += weight.const_data_ptr<double>()[c * width + width - 1 - back] *
                     seen.const_data_ptr<
                         double>()[(b * seen.size(1) + t + width - 1 - back) * channels + c];
            expected.push_back(sum / (1 + std::exp(-sum)));
          }
      const auto move = [&, type = dtype](const at::Tensor& y) { return y.to(device(), type); };
      const auto run = [&](std::int64_t from, std::int64_t count, const ConvolutionState& state) {
        return short_convolution(move(x).narrow(1, from, count), move(weight), state);
      };
      const ConvolutionState start{move(tail)};
      const ConvolutionState zeros =
          ConvolutionState::zeros(2, width, channels, start.tail_BWC.options());
      EXPECT_TRUE(at::equal(zeros.tail_BWC, at::zeros_like(start.tail_BWC)));
      const ConvolutionOutput whole = run(0, rows, start);
      EXPECT_EQ(whole.out_BNC.scalar_type(), dtype);
      EXPECT_LT(difference(whole.out_BNC, expected), tolerance) << "width " << width;
      for (std::int64_t cut = 1; cut < rows; ++cut) {
        const ConvolutionOutput first = run(0, cut, start);
        const ConvolutionOutput second = run(cut, rows - cut, first.state);
        EXPECT_LT(difference(at::cat({first.out_BNC, second.out_BNC}, 1), whole.out_BNC),
                  tolerance);
        EXPECT_TRUE(at::equal(second.state.tail_BWC, whole.state.tail_BWC));
        EXPECT_EQ(first.state.bytes(), start.bytes());
        EXPECT_EQ(first.state.tail_BWC.storage().nbytes(), start.bytes()) << "a view of more";
      }
    }
}

TEST_P(LinearAttentionTest, ShortConvolutionPassesGradients) {
  Rng rng(9, "short convolution gradients");
  const auto leaf = [&](at::IntArrayRef sizes) {
    return random_tensor(sizes, rng, draw_normal).to(device()).requires_grad_();
  };
  const std::vector<at::Tensor> inputs = {leaf({2, 6, 3}), leaf({3, 4}), leaf({2, 3, 3})};
  const at::Tensor weights = leaf({2, 6, 3}).detach();
  const auto loss = [&](const std::vector<at::Tensor>& in) {
    return (short_convolution(in[0], in[1], {in[2]}).out_BNC * weights).sum();
  };
  const auto gradients = torch::autograd::grad({loss(inputs)}, inputs);
  for (std::size_t i = 0; i < inputs.size(); ++i)
    for (std::int64_t j = 0; j < inputs[i].numel(); ++j) {
      const auto moved = [&](double step) {
        std::vector<at::Tensor> in = inputs;
        in[i] = in[i].detach().clone();
        in[i].view(-1)[j] += step;
        return loss(in).item<double>();
      };
      EXPECT_NEAR(gradients[i].reshape(-1)[j].item<double>(), (moved(1e-5) - moved(-1e-5)) / 2e-5,
                  1e-8);
    }
}

STRATA_ON_EVERY_DEVICE(LinearAttentionTest);

// Elements of all tensors that ATen's operators return while it lives, the derivatives' too. (Not
// those they are given: a view of a few rows does not touch the others.)
class ReturnedElements {
 public:
  ReturnedElements()
      : callback_(
            at::addGlobalCallback(at::RecordFunctionCallback(nullptr, count).needsOutputs(true))) {
    total_ = 0;
  }
  ~ReturnedElements() { at::removeCallback(callback_); }
  ReturnedElements(const ReturnedElements&) = delete;
  ReturnedElements& operator=(const ReturnedElements&) = delete;
  static double total() { return static_cast<double>(total_); }

 private:
  // Of the process, as the callback is a bare function.
  static inline std::atomic<std::int64_t> total_;
  at::CallbackHandle callback_;

  static void count(const at::RecordFunction& call, at::ObserverContext*) {
    for (const c10::IValue& output : call.outputs()) {
      if (output.isTensor() && output.toTensor().defined()) total_ += output.toTensor().numel();
      if (output.isTensorList())
        for (const at::Tensor& tensor : output.toTensorVector()) total_ += tensor.numel();
    }
  }
};

TEST(LinearAttentionCostTest, TwiceTheRowsAreTwiceTheWorkForwardsAndBackwards) {
  for (const Kind kind : kKinds) {
    Rng rng(10, "work");
    const auto work = [&](std::int64_t rows) {
      const LinearInputs in =
          random_inputs(kind, {1, 2, rows, 32, 32}, rng).each([](const at::Tensor& x) {
            return x.to(at::kFloat).requires_grad_();
          });
      const ReturnedElements returned;
      const LinearOutput output = chunked(in, kLinearChunk);
      torch::autograd::grad({output.out_BHNV.sum()}, {in.q, in.k, in.v});
      return returned.total();
    };
    const double once = work(4096), twice = work(8192);
    EXPECT_GT(once, 4096 * 2 * 32 * 3);
    EXPECT_NEAR(twice / once, 2, 0.01) << kNames[static_cast<int>(kind)];
  }
}

}  // namespace
}  // namespace strata
