// Two layers of one head each, by hand. The prompt is a value, "a" or "b"; the first head copies it
// to a place of the stream that nobody but the second head reads, which copies it on to where the
// LM head looks. Attention sees one token, so that a head's output is its value; the MLPs add 0;
// and "a" and "b" are alike in size everywhere, so that norms divide by the same.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "models/path_patch.h"
#include "tests/unit/models/dense_oracle.h"

namespace strata {
namespace {

// Places in the stream: what the token is, what the first head writes, what the second writes.
constexpr std::int64_t kToken = 0, kFirst = 2, kSecond = 4;
constexpr std::size_t kLower = 0, kUpper = 1;  // heads

class TwoLayersTest : public ::testing::Test {
 protected:
  // direct: what the LM head reads of the first head's own place beside the second's.
  void make(double direct) {
    Architecture a = testing::tiny_architecture(2, 1, 1, /*head_dim=*/2);
    Rng rng(1, "two layers");
    Weights w = testing::random_weights(a, rng, at::kDouble);
    for (at::Tensor* t : {&w.embedding, &w.lm_head}) t->zero_();
    const std::int64_t read[] = {kToken, kFirst}, written[] = {kFirst, kSecond};
    for (std::size_t layer = 0; layer < 2; ++layer) {
      LayerWeights& l = w.layers[layer];
      for (at::Tensor* t : {&l.q, &l.k, &l.v, &l.o, &l.down}) t->zero_();
      l.input_norm.fill_(1);
      for (std::int64_t value : {0, 1}) {
        l.v[value][read[layer] + value].fill_(1);
        l.o[written[layer] + value][value].fill_(1);
      }
    }
    w.final_norm.fill_(1);
    for (std::int64_t value : {0, 1}) {
      w.embedding[value][kToken + value].fill_(1);
      w.lm_head[value][kSecond + value].fill_(1);
      w.lm_head[value][kFirst + value].fill_(direct);
    }
    model_ = Model::in_memory("two layers", a, w);
  }

  const Tokens a_ = {0}, b_ = {1};
  PatchPair pair() const { return {a_, a_, b_, b_}; }
  std::unique_ptr<Model> model_;
};

TEST_F(TwoLayersTest, FrozenAttentionCutsAHeadOffFromTheHeadThatReadsIt) {
  make(/*direct=*/0);
  MeteredModel model(*model_);
  const PatchEffects direct = *direct_effects(model, pair(), {});
  EXPECT_GT(direct.margin, 0.1);
  EXPECT_EQ(direct.other_margin, -direct.margin);
  // All goes through the upper head; frozen, it says what it said. (The stream's size is the same
  // too: "b" in place of "a".)
  EXPECT_EQ(direct.effects[kLower], 0.0);
  EXPECT_DOUBLE_EQ(direct.effects[kUpper], 2 * direct.margin);
  // Let go, it says the other value: all of the effect is on that path.
  const PatchEffects path =
      *path_effects(model, pair(), {}, std::vector{kLower, kUpper}, std::vector{kUpper});
  EXPECT_DOUBLE_EQ(path.effects[kLower], 2 * path.margin);
  EXPECT_EQ(path.effects[kUpper], 0.0);  // no receiver above it
}

TEST_F(TwoLayersTest, WhatTheReadoutSeesOfAHeadItselfIsItsDirectEffect) {
  make(/*direct=*/0.25);
  MeteredModel model(*model_);
  const PatchEffects direct = *direct_effects(model, pair(), {});
  // Both write as much as they read: the lower 1/rms(token), the upper 1/rms(token and lower).
  const double lower = 1 / std::sqrt(1.0 / 12 + 1e-5);
  const double upper = lower / std::sqrt((1 + lower * lower) / 12 + 1e-5);
  EXPECT_NEAR(direct.effects[kLower] / direct.effects[kUpper], 0.25 * lower / upper, 1e-12);
  EXPECT_NEAR(direct.effects[kLower] + direct.effects[kUpper], 2 * direct.margin, 1e-12);
  const PatchEffects path =
      *path_effects(model, pair(), {}, std::vector{kLower}, std::vector{kUpper});
  EXPECT_NEAR(path.effects[kLower], direct.effects[kUpper], 1e-12);
}

}  // namespace
}  // namespace strata
