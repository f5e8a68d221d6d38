// Costs against hand-worked numbers and against counting by the visibility rule.
#include "models/cost.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "tests/unit/models/dense_oracle.h"
#include "tests/unit/models/small_shape.h"

namespace strata {
namespace {

using testing::kShape;

AttentionPlan layers_kept(const std::vector<int>& kept, SlidingWindow sliding,
                          DecodeRule rule = DecodeRule::kSame) {
  return *AttentionPlan::from_mask(Mask::of_layers(kShape.heads, kept), FullAttention{}, sliding,
                                   rule);
}

TEST(CostTest, FullPrefillOfFiveTokensByHand) {
  const Flops flops = prefill_flops(AttentionPlan::full(kShape.heads), kShape, 5);
  // A layer and token: q and o 2·8·8·2 = 256, k and v 2·8·4·2 = 128, MLP 2·8·16·3 = 768.
  EXPECT_EQ(flops.linear, 2 * 5 * (256 + 128 + 768));
  // Visible pairs 1+2+3+4+5 = 15, 2 heads, 2 products of 2·4 FLOPs.
  EXPECT_EQ(flops.attention, 2 * 15 * 2 * 16);
  EXPECT_EQ(flops.lm_head, 2 * 8 * 10);
}

TEST(CostTest, WindowedPrefillOfFiveTokensByHand) {
  const Flops flops = prefill_flops(layers_kept({0}, {.window = 2, .sinks = 1}), kShape, 5);
  // Rows see 1, 2, 3, 3, 3 keys in the windowed layer: 12 pairs; 15 in the full one.
  EXPECT_EQ(flops.attention, (15 + 12) * 2 * 16);
}

TEST(CostTest, DecodeOfThreeTokensFeedsTwo) {
  const Flops same = decode_flops(layers_kept({}, {.window = 2, .sinks = 1}), kShape, 5, 3);
  EXPECT_EQ(same.attention, 2 * (3 + 3) * 2 * 16);
  EXPECT_EQ(same.linear, 2 * 2 * (256 + 128 + 768));
  EXPECT_EQ(same.lm_head, 2 * 2 * 8 * 10);
  const Flops full =
      decode_flops(layers_kept({}, {.window = 2, .sinks = 1}, DecodeRule::kFull), kShape, 5, 3);
  EXPECT_EQ(full.attention, 2 * (6 + 7) * 2 * 16);
  EXPECT_EQ(decode_flops(AttentionPlan::full(kShape.heads), kShape, 5, 1).total(), 0);
}

TEST(CostTest, OnlyTheExpertsThatRunAndTheRouterCount) {
  ModelShape shape = kShape;
  shape.experts = 6;
  shape.experts_per_token = 2;
  const AttentionPlan plan = AttentionPlan::full(shape.heads);
  // A layer and token: as above, but two MLPs of 768, and the router 2·8·6 = 96.
  EXPECT_EQ(prefill_flops(plan, shape, 5).linear, 2 * 5 * (256 + 128 + 2 * 768 + 96));
}

TEST(CostTest, KvBytesByHand) {
  // A token of a KV head: 4 values, K and V, 4 bytes = 32.
  EXPECT_EQ(kv_bytes(AttentionPlan::full(kShape.heads), kShape, 20), 2u * 20 * 32);
  EXPECT_EQ(kv_bytes(layers_kept({1}, {.window = 6, .sinks = 2}), kShape, 20), (20u + 8) * 32);
  EXPECT_EQ(kv_bytes(layers_kept({1}, {.window = 6, .sinks = 2}), kShape, 5), (5u + 5) * 32);
  // Rule full keeps everything: nothing is saved.
  EXPECT_EQ(kv_bytes(layers_kept({1}, {.window = 6, .sinks = 2}, DecodeRule::kFull), kShape, 20),
            2u * 20 * 32);
}

TEST(CostTest, VisiblePairsEqualCountingByTheRule) {
  for (int seed = 0; seed < 500; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "pairs");
    const PaletteEntry entry{rng.below(4) == 0
                                 ? MixerSpec(FullAttention{})
                                 : MixerSpec(SlidingWindow{rng.between(1, 20), rng.between(0, 5)}),
                             rng.below(2) == 0 ? DecodeRule::kSame : DecodeRule::kFull};
    const std::int64_t end = rng.between(1, 60), begin = rng.between(0, end - 1),
                       prompt = rng.between(1, 60);
    double counted = 0;
    for (std::int64_t i = begin; i < end; ++i)
      for (std::int64_t j = 0; j <= i; ++j) counted += testing::oracle_sees(entry, i, j, prompt);
    EXPECT_EQ(visible_pairs(entry, begin, end, prompt), counted) << "seed " << seed;
  }
}

TEST(RowPlanTest, WindowsLeaveASuffixThatShrinksTowardsTheTop) {
  const HeadLayout layout{.layers = 4, .query_heads = 1, .kv_heads = 1};
  const AttentionPlan plan = *AttentionPlan::from_mask(
      Mask::of_layers(layout, {1}), FullAttention{}, SlidingWindow{10, 4}, DecodeRule::kSame);
  // Rows [20, 100), only row 99 is read, nothing is kept for later.
  const std::vector<LayerRows> rows = plan_rows(
      plan, {.begin = 20, .end = 100, .prompt_length = 100, .first_read = 99, .retain = false});
  EXPECT_EQ(rows, (std::vector<LayerRows>{{20, 20}, {20, 81}, {81, 90}, {90, 99}}));
  // Kept for later: the last 10 rows of each windowed layer, all rows of the full one.
  const std::vector<LayerRows> kept = plan_rows(
      plan, {.begin = 20, .end = 100, .prompt_length = 100, .first_read = 99, .retain = true});
  EXPECT_EQ(kept, (std::vector<LayerRows>{{20, 20}, {20, 81}, {81, 90}, {90, 99}}));
  // Sinks inside the chunk: every row stays.
  const std::vector<LayerRows> first = plan_rows(
      plan, {.begin = 0, .end = 100, .prompt_length = 100, .first_read = 99, .retain = true});
  EXPECT_EQ(first, (std::vector<LayerRows>{{0, 0}, {0, 0}, {0, 0}, {0, 99}}));
}

}  // namespace
}  // namespace strata
