// What linear attention costs: hand-worked numbers, and the count of a plain computation in the
// chunked form that docs/cost.md writes out, which must also give the recurrence's outputs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/rng.h"
#include "models/cost.h"
#include "models/linear_parts.h"
#include "models/mixers/linear_attention.h"
#include "models/mixers/linear_branch_config.h"
#include "tests/unit/models/small_shape.h"

namespace strata {
namespace {

using testing::kShape;

AttentionPlan all_linear(LinearKind kind) {
  return *AttentionPlan::from_mask(Mask::of_layers(kShape.heads, {}), FullAttention{},
                                   LinearAttention{kind}, DecodeRule::kSame);
}

TEST(LinearCostTest, WeightsOfFiveTokensByHand) {
  const auto linear = [](LinearKind kind) {
    return prefill_flops(all_linear(kind), kShape, 5).linear;
  };
  // A layer and token: q and o 2·8·8·2 = 256, k and v of both heads 2·8·8·2 = 256, MLP 768, the
  // output gate 2·8·8 = 128.
  EXPECT_EQ(linear(LinearKind::kLightning), 2 * 5 * (256 + 256 + 768 + 128));
  // And the decays: 2·8·16 for both heads, 2·16·4 for each.
  EXPECT_EQ(linear(LinearKind::kGla), 2 * 5 * (1408 + 256 + 2 * 128));
  // And two scalars a head 2·2·8·2 = 64, four taps over q, k and v 2·4·8·3 = 192.
  EXPECT_EQ(linear(LinearKind::kGatedDeltaNet), 2 * 5 * (1408 + 64 + 192));
}

TEST(LinearCostTest, MixingByHand) {
  const auto prefill = [](LinearKind kind, std::int64_t length) {
    return prefill_flops(all_linear(kind), kShape, length).attention;
  };
  const auto decode = [](LinearKind kind) {
    return decode_flops(all_linear(kind), kShape, 5, 3).attention;
  };
  // A head, five tokens: written and read 5·2·32; 15 pairs of 16.
  EXPECT_EQ(prefill(LinearKind::kLightning, 5), 2 * 2 * (320 + 240));
  EXPECT_EQ(prefill(LinearKind::kGla, 5), 2 * 2 * (320 + 240));
  // Corrected too 5·32; 10 pairs with earlier tokens, three products of 8.
  EXPECT_EQ(prefill(LinearKind::kGatedDeltaNet, 5), 2 * 2 * (320 + 240 + 160 + 240));
  // 66 tokens: a chunk of 64 (2080 pairs) and one of 2 (3 pairs).
  EXPECT_EQ(prefill(LinearKind::kLightning, 66), 2 * 2 * (66 * 64 + 2083 * 16));
  // Two tokens are fed back: decay 16, written 32, read 32; corrected 32.
  EXPECT_EQ(decode(LinearKind::kLightning), 2 * 2 * 2 * (16 + 32 + 32));
  EXPECT_EQ(decode(LinearKind::kGatedDeltaNet), 2 * 2 * 2 * (16 + 32 + 32 + 32));
}

TEST(LinearCostTest, AHybridOfLayersAndHeadsByHand) {
  // Layer 0: query head 0 full, 1 linear, so the KV head is needed as well; layer 1: full.
  const AttentionPlan plan =
      *AttentionPlan::from_cells(Granularity::kQueryHead, kShape.heads,
                                 {{FullAttention{}, DecodeRule::kSame},
                                  {LinearAttention{LinearKind::kGla}, DecodeRule::kSame}},
                                 {0, 1, 0, 0});
  const Flops flops = prefill_flops(plan, kShape, 5);
  // Of the linear head: k and v 128, output gate 64, decay 256 + 128.
  EXPECT_EQ(flops.linear, 5 * (2 * (256 + 128 + 768) + 128 + 64 + 256 + 128));
  EXPECT_EQ(flops.attention, 3 * 15 * 16 + (320 + 240));
  EXPECT_EQ(kv_bytes(plan, kShape, 20), 2u * 20 * 32 + 64);
}

TEST(LinearCostTest, TheStateIsTheSameAtEveryLength) {
  // A head: 4·4 numbers of 4 bytes; three inputs of each of three convolutions over 4 channels.
  EXPECT_EQ(state_bytes(all_linear(LinearKind::kLightning), kShape), 2u * 2 * 64);
  EXPECT_EQ(state_bytes(all_linear(LinearKind::kGatedDeltaNet), kShape),
            2u * 2 * (64 + 3 * 3 * 16));
  ModelShape half = kShape;
  half.bytes_per_value = 2;  // of activations; branches run in float32
  EXPECT_EQ(state_bytes(all_linear(LinearKind::kGatedDeltaNet), half), 2u * 2 * (64 + 3 * 3 * 16));
  for (const std::int64_t length : {1, 20, 200})
    EXPECT_EQ(kv_bytes(all_linear(LinearKind::kGla), kShape, length), 2u * 2 * 64) << length;
  const AttentionPlan hybrid =
      *AttentionPlan::from_mask(Mask::of_layers(kShape.heads, {1}), FullAttention{},
                                LinearAttention{LinearKind::kGla}, DecodeRule::kSame);
  EXPECT_EQ(kv_bytes(hybrid, kShape, 20), 20u * 32 + 2 * 64);
  EXPECT_EQ(state_bytes(AttentionPlan::full(kShape.heads), kShape), 0u);
}

TEST(LinearCostTest, TheStateIsWhatTheArithmeticAllocates) {
  const std::int64_t d = kShape.head_dim;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    const auto options = at::TensorOptions(dtype == at::kDouble ? at::kDouble : at::kFloat);
    ModelShape shape = kShape;
    shape.bytes_per_value = static_cast<std::int64_t>(c10::elementSize(dtype));
    for (const auto& [kind, name] : kLinearKinds) {
      std::uint64_t bytes = LinearState::zeros(1, 2, d, d, options).bytes();
      if (const std::int64_t taps = linear_parts(kind).conv_taps; taps > 0)
        bytes += 3 * ConvolutionState::zeros(1, taps, 2 * d, options).bytes();
      EXPECT_EQ(state_bytes(all_linear(kind), shape), 2 * bytes) << name << " " << dtype;
    }
  }
}

TEST(LinearCostTest, CostsAddUpOverChunksWhereverAPromptIsCut) {
  for (const auto& [kind, name] : kLinearKinds) {
    const AttentionPlan plan = all_linear(kind);
    const auto cost = [&](std::int64_t begin, std::int64_t end) {
      const Chunk chunk{.begin = begin, .end = end, .prompt_length = 150, .first_read = begin};
      return run_cost(plan, kShape, chunk, all_rows(plan, chunk), 0).flops;
    };
    for (const std::int64_t cut : {1, 64, 100, 149, 150, 155}) {
      EXPECT_DOUBLE_EQ(cost(0, cut).attention + cost(cut, 160).attention, cost(0, 160).attention)
          << name << " " << cut;
      EXPECT_DOUBLE_EQ(cost(0, cut).linear + cost(cut, 160).linear, cost(0, 160).linear) << name;
    }
  }
}

TEST(LinearCostTest, AStateNeedsEveryRowAndSharesNoPrefix) {
  const AttentionPlan plan = *AttentionPlan::from_cells(
      Granularity::kLayer, {.layers = 3, .query_heads = 2, .kv_heads = 1},
      {{LinearAttention{}, DecodeRule::kSame}, {SlidingWindow{10, 4}, DecodeRule::kSame}},
      {1, 0, 1});
  EXPECT_EQ(shared_prefix(plan), 0);
  EXPECT_EQ(first_cut(plan), 14);
  const Chunk last_row{
      .begin = 20, .end = 100, .prompt_length = 100, .first_read = 99, .retain = false};
  EXPECT_EQ(plan_rows(plan, last_row), (std::vector<LayerRows>{{20, 20}, {20, 90}, {90, 99}}));
  // Nothing is read, but later tokens need the state: the layer below outputs everything.
  const Chunk kept{
      .begin = 20, .end = 100, .prompt_length = 100, .first_read = 100, .retain = true};
  EXPECT_EQ(plan_rows(plan, kept), (std::vector<LayerRows>{{20, 20}, {20, 90}, {90, 100}}));
}

TEST(LinearCostTest, ALayerReadsItsStateInEveryRowButOnlyRowsThatLeaveAreGated) {
  const AttentionPlan plan = all_linear(LinearKind::kLightning);
  const Chunk last_row{.begin = 0, .end = 5, .prompt_length = 5, .first_read = 4, .retain = false};
  const Flops flops = run_cost(plan, kShape, last_row, plan_rows(plan, last_row), 0).flops;
  // Of the top layer one row leaves: q, k and v 5·384; o, gate and MLP 128 + 128 + 768 once.
  EXPECT_EQ(flops.linear, 5 * 1408 + 5 * 384 + 1024);
  EXPECT_EQ(flops.attention, 2 * 2 * (320 + 240));
}

TEST(LinearCostTest, OptionsOfABranchCountByHand) {
  for (const auto& [kind, name] : kLinearKinds)
    EXPECT_EQ(linear_parts(LinearBranchConfig{.kind = kind}), linear_parts(kind)) << name;
  ModelShape shape = kShape;
  shape.branches = {linear_parts(LinearBranchConfig{.kind = LinearKind::kGatedDeltaNet,
                                                    .expand_kv_heads = false,
                                                    .output_gate = false,
                                                    .conv_width = 2}),
                    std::nullopt};
  const AttentionPlan plan = all_linear(LinearKind::kGatedDeltaNet);
  // Layer 1 by its kind's defaults, as above; layer 0 without the gate 128, k and v of one head 128
  // instead of 256, two taps over q (8 channels), k and v (4 each) 2·2·16 = 64.
  EXPECT_EQ(prefill_flops(plan, shape, 5).linear, 5 * (1408 + 64 + 192 + 1408 - 256 + 64 + 64));
  EXPECT_EQ(prefill_flops(plan, shape, 5).attention, prefill_flops(plan, kShape, 5).attention);
  // One input back of 16 channels.
  EXPECT_EQ(state_bytes(plan, shape), 2u * (64 + 3 * 3 * 16) + 2 * 64 + 16 * 4);
  shape.branches = {linear_parts(LinearBranchConfig{.kind = LinearKind::kGla, .gate_rank = 3})};
  EXPECT_EQ(prefill_flops(all_linear(LinearKind::kGla), shape, 5).linear,
            5 * (2 * 1408 + 256 + 2 * 128 + 2 * 8 * 3 + 2 * 2 * 3 * 4));
}

using Row = std::vector<double>;
constexpr std::size_t kWidth = 4;

// One head's inputs: rows of q, k, v and of decays in (0, 1] a channel; beta a row.
struct Head {
  std::vector<Row> q, k, v, decay;
  Row beta;
};

Head random_head(LinearKind kind, std::size_t rows, Rng& rng) {
  Head head;
  const auto row = [&] {
    Row out(kWidth);
    for (double& x : out) x = rng.uniform() - 0.5;
    return out;
  };
  for (std::size_t i = 0; i < rows; ++i) {
    head.q.push_back(row());
    head.k.push_back(row());
    head.v.push_back(row());
    Row decay(kWidth, kind == LinearKind::kLightning ? 0.9 : 0.8 + 0.2 * rng.uniform());
    if (kind == LinearKind::kGla)
      for (double& x : decay) x = 0.8 + 0.2 * rng.uniform();
    head.decay.push_back(decay);
    head.beta.push_back(rng.uniform());
  }
  return head;
}

// Counts what docs/cost.md counts: products with the state and of rows; no scaling by decays.
struct Counted {
  std::vector<Row> out;
  double flops = 0;

  double dot(const Row& a, const Row& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    flops += 2.0 * static_cast<double>(a.size());
    return sum;
  }
  void add(Row& to, double factor, const Row& row) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += factor * row[i];
    flops += 2.0 * static_cast<double>(to.size());
  }
  Row of_state(const std::vector<Row>& state, const Row& key) {  // stateᵀ · key
    Row row(kWidth, 0.0);
    for (std::size_t i = 0; i < kWidth; ++i) add(row, key[i], state[i]);
    return row;
  }
  void write(std::vector<Row>& state, const Row& key, const Row& value) {
    for (std::size_t i = 0; i < kWidth; ++i) add(state[i], key[i], value);
  }
};

// S ← decay·S, S += k (v or β (v − Sᵀk))ᵀ, out = Sᵀq.
Counted recurrent(const Head& head, bool corrects) {
  Counted run;
  std::vector<Row> state(kWidth, Row(kWidth, 0.0));
  for (std::size_t t = 0; t < head.q.size(); ++t) {
    for (std::size_t i = 0; i < kWidth; ++i)
      for (double& x : state[i]) {
        x *= head.decay[t][i];
        ++run.flops;
      }
    Row value = head.v[t];
    if (corrects) {
      const Row known = run.of_state(state, head.k[t]);
      for (std::size_t j = 0; j < kWidth; ++j) value[j] = head.beta[t] * (value[j] - known[j]);
    }
    run.write(state, head.k[t], value);
    run.out.push_back(run.of_state(state, head.q[t]));
  }
  return run;
}

// The same, the state written once a chunk.
Counted chunked(const Head& head, bool corrects) {
  constexpr auto kChunk = static_cast<std::size_t>(kLinearChunk);
  Counted run;
  std::vector<Row> state(kWidth, Row(kWidth, 0.0));
  const auto scaled = [](const Row& a, const Row& b, double power = 1) {
    Row out(a);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] *= std::pow(b[i], power);
    return out;
  };
  for (std::size_t begin = 0; begin < head.q.size(); begin += kChunk) {
    const std::size_t rows = std::min(kChunk, head.q.size() - begin);
    std::vector<Row> decay, k_down, k_up, value;  // k ⋅ decay since the chunk's begin, and over it
    Row since(kWidth, 1.0);
    for (std::size_t t = 0; t < rows; ++t) {
      since = scaled(since, head.decay[begin + t]);
      decay.push_back(since);
      k_up.push_back(scaled(head.k[begin + t], since));
      k_down.push_back(scaled(head.k[begin + t], since, -1));
      value.push_back(head.v[begin + t]);
    }
    if (corrects) {
      std::vector<Row> u, w;  // rows of (I + A)⁻¹ βV and (I + A)⁻¹ βK
      for (std::size_t t = 0; t < rows; ++t) {
        Row u_t = value[t], w_t = k_up[t];
        for (std::size_t s = 0; s < t; ++s) {
          const double a = run.dot(k_up[t], k_down[s]);
          run.add(u_t, -a, u[s]);
          run.add(w_t, -a, w[s]);
        }
        for (Row* row : {&u_t, &w_t})
          for (double& x : *row) x *= head.beta[begin + t];
        u.push_back(u_t);
        w.push_back(w_t);
      }
      for (std::size_t t = 0; t < rows; ++t) {
        const Row known = run.of_state(state, w[t]);
        for (std::size_t j = 0; j < kWidth; ++j) value[t][j] = u[t][j] - known[j];
      }
    }
    for (std::size_t t = 0; t < rows; ++t) {
      const Row q = scaled(head.q[begin + t], decay[t]);
      Row out = run.of_state(state, q);
      for (std::size_t s = 0; s <= t; ++s) run.add(out, run.dot(q, k_down[s]), value[s]);
      run.out.push_back(out);
    }
    for (std::size_t i = 0; i < kWidth; ++i)
      for (double& x : state[i]) x *= since[i];  // once a chunk: not counted
    for (std::size_t t = 0; t < rows; ++t) run.write(state, scaled(k_down[t], since), value[t]);
  }
  return run;
}

TEST(LinearCostTest, BothFormsGiveOneOutputAndTheirCountsAreTheFormulas) {
  const ModelShape one_head{.heads = {.layers = 1, .query_heads = 1, .kv_heads = 1},
                            .hidden = 4,
                            .head_dim = static_cast<std::int64_t>(kWidth)};
  for (const auto& [kind, name] : kLinearKinds)
    for (const std::int64_t rows : {1, 2, 63, 64, 65, 130}) {
      Rng rng(static_cast<std::uint64_t>(rows), name);
      const Head head = random_head(kind, static_cast<std::size_t>(rows), rng);
      const bool corrects = kind == LinearKind::kGatedDeltaNet;
      const Counted by_chunk = chunked(head, corrects), by_row = recurrent(head, corrects);
      for (std::size_t t = 0; t < head.q.size(); ++t)
        for (std::size_t j = 0; j < kWidth; ++j)
          ASSERT_NEAR(by_chunk.out[t][j], by_row.out[t][j], 1e-9) << name << " row " << t;
      const AttentionPlan plan =
          *AttentionPlan::from_mask(Mask::of_layers(one_head.heads, {}), FullAttention{},
                                    LinearAttention{kind}, DecodeRule::kSame);
      EXPECT_EQ(prefill_flops(plan, one_head, rows).attention, by_chunk.flops) << name << rows;
      EXPECT_EQ(decode_flops(plan, one_head, 0, rows + 1).attention, by_row.flops) << name << rows;
    }
}

}  // namespace
}  // namespace strata
