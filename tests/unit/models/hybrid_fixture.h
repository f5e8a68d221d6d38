// A tiny random model with a linear branch of random weights in every layer, plans of all mixers,
// and the loops over doubles that say what it computes.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/model.h"
#include "tests/unit/models/branch_fixture.h"
#include "tests/unit/models/branch_oracle.h"
#include "tests/unit/models/device_test.h"

namespace strata::testing {

struct TinyHybrid {
  Architecture architecture;
  Weights weights;                    // on the CPU
  std::vector<LayerBranch> branches;  // on the CPU
  std::unique_ptr<Model> model;       // on the device

  AttentionPlan plan(Granularity granularity, std::vector<PaletteEntry> palette,
                     std::vector<int> cells) const {
    return *AttentionPlan::from_cells(granularity, architecture.layout(), std::move(palette),
                                      std::move(cells));
  }
  AttentionPlan full() const { return AttentionPlan::full(architecture.layout()); }
  // Linear but for the given layers.
  AttentionPlan keeping(const std::vector<int>& layers) const {
    return *AttentionPlan::from_mask(Mask::of_layers(architecture.layout(), layers),
                                     FullAttention{}, linear(), DecodeRule::kSame);
  }
  LinearAttention linear() const { return {branches[0].config().kind}; }
  // Any of full attention, a window of either rule and linear attention in any unit.
  AttentionPlan random_plan(Rng& rng) const {
    const auto granularity = static_cast<Granularity>(rng.below(3));
    const std::vector<PaletteEntry> palette = {
        {linear(), DecodeRule::kSame},
        {FullAttention{}, DecodeRule::kSame},
        {SlidingWindow{rng.between(1, 9), rng.between(0, 3)},
         rng.below(2) == 0 ? DecodeRule::kSame : DecodeRule::kFull}};
    std::vector<int> cells;
    for (int i = 0; i < architecture.layers * architecture.layout().units_per_layer(granularity);
         ++i)
      cells.push_back(static_cast<int>(rng.below(3)));
    return plan(granularity, palette, cells);
  }
  // −log p of each answer token.
  std::vector<double> oracle_nll(const Tokens& prompt, const Tokens& answer,
                                 const AttentionPlan& under) const {
    Tokens tokens = prompt;
    tokens.insert(tokens.end(), answer.begin(), answer.end());
    const Matrix logits =
        oracle_logits(architecture, weights, tokens, under,
                      static_cast<std::int64_t>(prompt.size()), nullptr, branches);
    std::vector<double> nll;
    for (std::size_t k = 0; k < answer.size(); ++k) {
      const auto& row = logits[prompt.size() + k - 1];
      double total = 0;
      for (const double value : row) total += std::exp(value);
      nll.push_back(std::log(total) - row[static_cast<std::size_t>(answer[k])]);
    }
    return nll;
  }
};

inline std::vector<LayerBranch> random_branches(const Architecture& a, const Weights& weights,
                                                const LinearBranchConfig& config,
                                                std::uint64_t seed) {
  Rng rng(seed, "branches of a tiny hybrid");
  std::vector<LayerBranch> branches;
  for (int layer = 0; layer < a.layers; ++layer) {
    branches.push_back(LayerBranch::initial(a, weights, layer, config));
    draw_weights(branches.back(), rng);
  }
  return branches;
}

// Of odd seeds with learned sink logits.
inline TinyHybrid tiny_hybrid(const LinearBranchConfig& config, at::ScalarType dtype,
                              std::uint64_t seed, at::Device device = at::kCPU, int layers = 4) {
  Rng rng(seed, "tiny hybrid");
  TinyHybrid out{.architecture = tiny_architecture(layers, 4, 2),
                 .weights = {},
                 .branches = {},
                 .model = nullptr};
  out.architecture.sink_logits = seed % 2 == 1;
  out.weights = random_weights(out.architecture, rng, dtype);
  out.branches = random_branches(out.architecture, out.weights, config, seed);
  const Weights there = to_device(out.weights, device);
  out.model = Model::in_memory("tiny hybrid", out.architecture, there,
                               random_branches(out.architecture, there, config, seed));
  return out;
}

// Any config of a kind.
inline LinearBranchConfig random_config(LinearKind kind, Rng& rng) {
  const auto coin = [&] { return rng.below(2) == 0; };
  constexpr std::int64_t kWidths[] = {0, 1, 4};
  return {.kind = kind,
          .expand_kv_heads = coin(),
          .rope = coin(),
          .scale_query = coin(),
          .output_norm = coin(),
          .output_gate = coin(),
          .layer_decay = coin(),
          .gate_rank = rng.between(1, 5),
          .gate_divisor = 1 + 15 * rng.uniform(),
          .conv_width = kWidths[rng.below(3)],
          .max_beta = 1 + rng.uniform(),
          .fusion = coin() ? HeadFusion::kNorm : HeadFusion::kNone};
}

inline Tokens random_tokens(std::int64_t count, Rng& rng) {
  Tokens tokens;
  for (std::int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<TokenId>(rng.below(11)));
  return tokens;
}

inline void expect_close(const std::vector<double>& got, const std::vector<double>& expected,
                         double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], expected[i], tolerance) << what << ", position " << i;
}

}  // namespace strata::testing
