// A tiny random model whose attention has every part that a branch copies, and branches of random
// weights, for the tests of linear branches.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/mixers/linear_branch.h"
#include "models/model.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/linear_oracle.h"

namespace strata::testing {

inline at::Tensor normal_tensor(at::IntArrayRef sizes, Rng& rng, double scale, double mean = 0) {
  return random_tensor(sizes, rng, [&](Rng& r) { return mean + scale * r.normal(); });
}

// With biases and norms of q and k where `rich`.
inline std::unique_ptr<Model> branch_parent(Rng& rng, at::ScalarType dtype, bool rich,
                                            int layers = 3) {
  Architecture a = tiny_architecture(layers, 4, 2);
  a.qkv_bias = a.o_bias = a.qk_norm = rich;
  Weights weights = random_weights(a, rng, dtype);
  const auto draw = [&](at::IntArrayRef sizes, double mean) {
    return normal_tensor(sizes, rng, 0.3, mean).to(at::kFloat).to(dtype);
  };
  for (LayerWeights& w : weights.layers) {
    if (!rich) break;
    w.q_bias = draw({a.query_heads * a.head_dim}, 0);
    w.k_bias = draw({a.kv_heads * a.head_dim}, 0);
    w.v_bias = draw({a.kv_heads * a.head_dim}, 0);
    w.o_bias = draw({a.hidden}, 0);
    w.q_norm = draw({a.head_dim}, 1);
    w.k_norm = draw({a.head_dim}, 1);
  }
  return Model::in_memory("tiny parent", a, weights);
}

inline LayerBranch initial_branch(const Model& parent, int layer,
                                  const LinearBranchConfig& config) {
  return LayerBranch::initial(parent.decoder().architecture(), parent.decoder().weights(), layer,
                              config);
}

inline void draw_weights(LayerBranch& branch, Rng& rng) {
  for (const BranchPart& part : branch.parts())
    part.tensor->copy_(normal_tensor(part.tensor->sizes(), rng, 0.5));
}

}  // namespace strata::testing
