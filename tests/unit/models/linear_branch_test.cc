// A layer's linear branch against loops over doubles (recurrences: linear_oracle.h), and the start
// of a conversion against the attention's own weights.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "tests/unit/models/branch_oracle.h"
#include "tests/unit/models/hybrid_fixture.h"

namespace strata {
namespace {

using testing::branch_parent;
using testing::draw_weights;
using testing::initial_branch;
using testing::Matrix;
using testing::norm_heads;
using testing::normal_tensor;
using testing::product;
using testing::random_config;
using testing::rows_of;
using testing::sigmoid;
using testing::turn;

double at2(const at::Tensor& x, std::int64_t i, std::int64_t j) {
  return x.select(0, i).select(0, j).to(at::kDouble).item<double>();
}

constexpr LinearKind kKinds[] = {LinearKind::kLightning, LinearKind::kGla,
                                 LinearKind::kGatedDeltaNet};

double largest_difference(const at::Tensor& x, const at::Tensor& y) {
  return (x.to(at::kDouble) - y.to(at::kDouble)).abs().max().item<double>();
}

double worst_error(LinearKind kind, at::ScalarType dtype) {
  double worst = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    Rng rng(seed, "linear branch");
    const auto parent = branch_parent(rng, dtype, rng.below(2) == 0);
    LayerBranch branch =
        initial_branch(*parent, static_cast<int>(rng.below(3)), random_config(kind, rng));
    draw_weights(branch, rng);
    const std::int64_t rows = rng.between(1, 80);
    const at::Tensor x = normal_tensor({2, rows, 12}, rng, 1).to(dtype);
    const at::Tensor out = branch.forward(x, branch.make_state(2)).out_BNC;
    EXPECT_EQ(out.scalar_type(), dtype);
    for (std::int64_t b = 0; b < 2; ++b) {
      const Matrix slow = testing::branch_oracle(
          parent->decoder().architecture(), parent->decoder().weights(), branch, rows_of(x[b]));
      const Matrix fast = rows_of(out[b]);
      double error = 0, size = 0;
      for (std::size_t n = 0; n < slow.size(); ++n)
        for (std::size_t c = 0; c < slow[n].size(); ++c) {
          error += std::pow(fast[n][c] - slow[n][c], 2);
          size += std::pow(slow[n][c], 2);
        }
      worst = std::max(worst, std::isfinite(error) ? std::sqrt(error / size) : 1e9);
    }
  }
  std::printf("%s %s: worst relative error %.1e\n", std::string(to_string(kind)).c_str(),
              at::toString(dtype), worst);
  return worst;
}

TEST(LinearBranchTest, IsWhatLoopsOverDoublesSay) {
  for (const LinearKind kind : kKinds) {
    EXPECT_LT(worst_error(kind, at::kDouble), 1e-11);
    EXPECT_LT(worst_error(kind, at::kFloat), 2e-5);
  }
}

TEST(LinearBranchTest, StepsAndCutsAreTheWholeSequence) {
  for (const LinearKind kind : kKinds) {
    Rng rng(3, "steps");
    const auto parent = branch_parent(rng, at::kDouble, true);
    LayerBranch branch = initial_branch(*parent, 1, {.kind = kind});
    draw_weights(branch, rng);
    const at::Tensor x = normal_tensor({2, 150, 12}, rng, 1);
    const BranchOutput whole = branch.forward(x, branch.make_state(2));
    const BranchOutput first = branch.forward(x.narrow(1, 0, 70), branch.make_state(2));
    const BranchOutput rest = branch.forward(x.narrow(1, 70, 80), first.state);
    EXPECT_LT(largest_difference(at::cat({first.out_BNC, rest.out_BNC}, 1), whole.out_BNC), 1e-11);

    const BranchState snapshot = first.state.clone();
    BranchState state = first.state;
    std::vector<at::Tensor> outs;
    for (std::int64_t n = 70; n < 150; ++n) {
      BranchOutput one = branch.step(x.narrow(1, n, 1), state);
      outs.push_back(one.out_BNC);
      state = one.state;
    }
    EXPECT_LT(largest_difference(at::cat(outs, 1), whole.out_BNC.narrow(1, 70, 80)), 1e-11);
    EXPECT_LT(largest_difference(state.state.s_BHKV, whole.state.state.s_BHKV), 1e-11);
    EXPECT_EQ(state.length, 150);
    // Restored, the same token makes the same bits.
    EXPECT_TRUE(at::equal(branch.step(x.narrow(1, 70, 1), snapshot).out_BNC, outs[0]));
    EXPECT_TRUE(at::equal(branch.step(x.narrow(1, 70, 1), first.state).out_BNC, outs[0]));
  }
}

TEST(LinearBranchTest, StatesHaveTheBytesOfMatricesAndTails) {
  Rng rng(4, "bytes");
  const auto parent = branch_parent(rng, at::kFloat, false);
  // 3 sequences, 4 heads of 4 × 4 in float32; three taps back of q, and of 2 KV heads of k and v.
  constexpr std::uint64_t kMatrices = std::uint64_t{3} * 4 * 4 * 4 * 4;
  EXPECT_EQ(initial_branch(*parent, 0, {}).make_state(3).bytes(), kMatrices);
  const LinearBranchConfig config{.kind = LinearKind::kGatedDeltaNet, .expand_kv_heads = false};
  EXPECT_EQ(initial_branch(*parent, 0, config).make_state(3).bytes(),
            kMatrices + std::uint64_t{3} * 3 * (16 + 8 + 8) * 4);
}

// From the attention's weights alone: the state of each head in loops, with constant gates.
Matrix stated_start(const Architecture& a, const Weights& model, int layer, LinearKind kind,
                    const Matrix& x) {
  const LayerWeights& w = model.layers[static_cast<std::size_t>(layer)];
  const auto d = static_cast<std::size_t>(a.head_dim);
  Matrix q = product(x, w.q, w.q_bias), k = product(x, w.k, w.k_bias),
         v = product(x, w.v, w.v_bias);
  if (kind == LinearKind::kGatedDeltaNet)
    for (Matrix* rows : {&q, &k, &v})
      for (auto& row : *rows)
        for (double& value : row) value *= sigmoid(value);
  norm_heads(q, w.q_norm, d, a.rms_norm_eps);
  norm_heads(k, w.k_norm, d, a.rms_norm_eps);
  turn(q, d, model.inverse_frequencies);
  turn(k, d, model.inverse_frequencies);
  Matrix out(x.size(), std::vector<double>(static_cast<std::size_t>(a.query_heads) * d));
  for (std::size_t h = 0; h < static_cast<std::size_t>(a.query_heads); ++h) {
    const std::size_t of_q = h * d, of_kv = h / 2 * d;
    const double decay = kind == LinearKind::kLightning
                             ? std::exp(-std::pow(2.0, -2.0 * static_cast<double>(h + 1)))
                             : 0.9;
    Matrix s(d, std::vector<double>(d));  // key × value
    for (std::size_t n = 0; n < x.size(); ++n) {
      std::vector<double> key(k[n].begin() + static_cast<std::ptrdiff_t>(of_kv),
                              k[n].begin() + static_cast<std::ptrdiff_t>(of_kv + d));
      std::vector<double> query(q[n].begin() + static_cast<std::ptrdiff_t>(of_q),
                                q[n].begin() + static_cast<std::ptrdiff_t>(of_q + d));
      if (kind == LinearKind::kGatedDeltaNet)
        for (std::vector<double>* vector : {&key, &query}) {
          double squares = 1e-6;
          for (const double value : *vector) squares += value * value;
          for (double& value : *vector) value /= std::sqrt(squares);
        }
      for (std::size_t e = 0; e < d; ++e) {
        double said = 0;
        for (std::size_t i = 0; i < d; ++i) said += key[i] * decay * s[i][e];
        const double written =
            kind == LinearKind::kGatedDeltaNet ? 0.5 * (v[n][of_kv + e] - said) : v[n][of_kv + e];
        double read = 0;
        for (std::size_t i = 0; i < d; ++i) {
          s[i][e] = decay * s[i][e] + key[i] * written;
          read += query[i] * s[i][e];
        }
        out[n][of_q + e] = 0.8 * read / std::sqrt(static_cast<double>(d));
      }
    }
  }
  return product(out, w.o, w.o_bias);
}

TEST(LinearBranchTest, StartsAsItIsDocumented) {
  for (const LinearKind kind : kKinds) {
    Rng rng(5, "start");
    const auto parent = branch_parent(rng, at::kDouble, true);
    const LayerBranch branch = initial_branch(
        *parent, 2, {.kind = kind, .output_norm = false, .start_gate = 0.8, .start_decay = 0.9});
    const at::Tensor x = normal_tensor({1, 70, 12}, rng, 1);
    const Matrix got = rows_of(branch.forward(x, branch.make_state(1)).out_BNC[0]);
    const Matrix expected = stated_start(parent->decoder().architecture(),
                                         parent->decoder().weights(), 2, kind, rows_of(x[0]));
    for (std::size_t n = 0; n < got.size(); ++n)
      for (std::size_t c = 0; c < got[n].size(); ++c)
        ASSERT_NEAR(got[n][c], expected[n][c], 1e-10) << to_string(kind) << " row " << n;
  }
}

TEST(LinearBranchTest, StartsWithCopiesThatAreItsOwn) {
  Rng rng(6, "copies");
  const auto parent = branch_parent(rng, at::kFloat, true);
  const LayerWeights& attention = parent->decoder().weights().layers[1];
  const at::Tensor before = attention.q.clone();
  LayerBranch branch = initial_branch(*parent, 1, {.kind = LinearKind::kGla});
  EXPECT_TRUE(at::equal(branch.weights().q, attention.q));
  EXPECT_TRUE(at::equal(branch.weights().o, attention.o));
  for (std::int64_t head = 0; head < 4; ++head)
    for (std::int64_t i = 0; i < 4; ++i)
      for (std::int64_t c = 0; c < 12; ++c) {
        EXPECT_EQ(at2(branch.weights().k, head * 4 + i, c), at2(attention.k, head / 2 * 4 + i, c));
        EXPECT_EQ(at2(branch.weights().v, head * 4 + i, c), at2(attention.v, head / 2 * 4 + i, c));
      }
  // The same for a seed, another for each layer and seed.
  const auto gates = [&](int layer, std::uint64_t seed) {
    return initial_branch(*parent, layer, {.kind = LinearKind::kGla, .seed = seed})
        .weights()
        .decay_down;
  };
  EXPECT_TRUE(at::equal(gates(1, 0), branch.weights().decay_down));
  EXPECT_FALSE(at::equal(gates(1, 1), gates(1, 0)));
  EXPECT_FALSE(at::equal(gates(2, 0), gates(1, 0)));
  draw_weights(branch, rng);
  EXPECT_TRUE(at::equal(attention.q, before));
}

TEST(LinearBranchTest, HalfPrecisionInputsAreComputedInFloat32) {
  for (const LinearKind kind : kKinds) {
    Rng rng(7, "half");
    const auto parent = branch_parent(rng, at::kBFloat16, false);
    LayerBranch branch = initial_branch(*parent, 0, {.kind = kind});
    for (const BranchPart& part : branch.parts())
      EXPECT_EQ(part.tensor->scalar_type(), at::kFloat) << part.name;
    const at::Tensor x = normal_tensor({1, 20, 12}, rng, 1).to(at::kBFloat16);
    const at::Tensor out = branch.forward(x, branch.make_state(1)).out_BNC;
    EXPECT_EQ(out.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(
        out, branch.forward(x.to(at::kFloat), branch.make_state(1)).out_BNC.to(at::kBFloat16)));
  }
}

TEST(LinearBranchTest, ANarrowedCopyIsTheBranchWithinItsRounding) {
  for (const LinearKind kind : kKinds) {
    Rng rng(11, "narrowed");
    const auto parent = branch_parent(rng, at::kFloat, true);
    LayerBranch branch = initial_branch(*parent, 1, {.kind = kind, .gate_rank = 3});
    draw_weights(branch, rng);
    const LayerBranch narrow = branch.narrowed(at::kBFloat16);
    EXPECT_EQ(narrow.weights().q.scalar_type(), at::kBFloat16);
    EXPECT_EQ(branch.weights().q.scalar_type(), at::kFloat);
    // Where angles of halves would be off by whole turns.
    BranchState far = branch.make_state(1), far_too = narrow.make_state(1);
    far.length = far_too.length = 30001;
    EXPECT_EQ(far.bytes(), far_too.bytes());
    const at::Tensor x = normal_tensor({1, 70, 12}, rng, 1).to(at::kBFloat16);
    const BranchOutput exact = branch.forward(x, far), out = narrow.forward(x, far_too);
    EXPECT_EQ(out.out_BNC.scalar_type(), at::kBFloat16);
    const auto relative = [](const at::Tensor& a, const at::Tensor& b) {
      return ((a - b).to(at::kDouble).norm() / b.to(at::kDouble).norm()).item<double>();
    };
    EXPECT_LT(relative(out.out_BNC, exact.out_BNC), 3e-2);
    EXPECT_LT(relative(out.state.state.s_BHKV, exact.state.state.s_BHKV), 3e-2);
    // Goes on token by token.
    const at::Tensor next = normal_tensor({1, 1, 12}, rng, 1).to(at::kBFloat16);
    EXPECT_LT(
        relative(narrow.step(next, out.state).out_BNC, branch.step(next, exact.state).out_BNC),
        5e-2);
  }
}

TEST(LinearBranchTest, GradientsOfEveryPartAreFiniteDifferences) {
  for (const LinearKind kind : kKinds) {
    Rng rng(8, "gradients");
    const auto parent = branch_parent(rng, at::kDouble, true);
    LayerBranch branch = initial_branch(*parent, 1, {.kind = kind, .gate_rank = 3});
    draw_weights(branch, rng);
    const at::Tensor x = normal_tensor({2, 70, 12}, rng, 1), r = normal_tensor({2, 70, 12}, rng, 1);
    const auto loss = [&] { return (branch.forward(x, branch.make_state(2)).out_BNC * r).sum(); };
    std::vector<at::Tensor> leaves;
    for (const BranchPart& part : branch.parts()) leaves.push_back(part.tensor->requires_grad_());
    const std::vector<at::Tensor> gradients = torch::autograd::grad({loss()}, leaves);
    const at::NoGradGuard no_grad;
    const std::vector<BranchPart> parts = branch.parts();
    for (std::size_t p = 0; p < parts.size(); ++p)
      for (int sample = 0; sample < 3; ++sample) {
        const auto i =
            static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(leaves[p].numel())));
        double* value = leaves[p].mutable_data_ptr<double>() + i;
        constexpr double kStep = 1e-6;
        const double here = *value;
        *value = here + kStep;
        const double above = loss().item<double>();
        *value = here - kStep;
        const double below = loss().item<double>();
        *value = here;
        const double slope = (above - below) / (2 * kStep);
        EXPECT_NEAR(gradients[p].flatten()[i].item<double>(), slope,
                    1e-5 * std::max(1.0, std::abs(slope)))
            << parts[p].name;
      }
  }
}

TEST(LinearBranchTest, FlopsAreThoseCountedByHand) {
  Rng rng(9, "flops");
  const auto parent = branch_parent(rng, at::kFloat, false);
  // 66 rows: pairs 64·65/2 + 2·3/2 = 2083. C = 12, 4 heads of 4.
  const BranchFlops lightning = initial_branch(*parent, 0, {}).flops(66);
  EXPECT_EQ(lightning.from_input, 66 * 2 * 4 * (16 * 12));
  EXPECT_EQ(lightning.behind, 66 * 2 * (16 * 12) + 4 * (66 * 2 * 2 * 16 + 2083 * 2 * 2 * 4));
  const BranchFlops delta =
      initial_branch(*parent, 0, {.kind = LinearKind::kGatedDeltaNet}).flops(66);
  EXPECT_EQ(delta.from_input - lightning.from_input, 66 * 2 * 2 * (4 * 12));
  EXPECT_EQ(delta.behind - lightning.behind,
            66 * 2 * 3 * (16 * 4) + 4 * (66 * 2 * 16 + (2083 - 66) * 3 * 2 * 4));
  const BranchFlops gla =
      initial_branch(*parent, 0, {.kind = LinearKind::kGla, .output_gate = false}).flops(66);
  EXPECT_EQ(gla.from_input, 66 * 2 * (3 * 16 * 12 + 16 * 12));
  EXPECT_EQ(gla.behind - lightning.behind, 66 * 2 * (16 * 16));
}

}  // namespace
}  // namespace strata
