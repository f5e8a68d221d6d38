#include "core/plan.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/rng.h"

namespace strata {
namespace {

constexpr HeadLayout kLayout{.layers = 6, .query_heads = 4, .kv_heads = 2};
const SlidingWindow kWindow{.window = 16, .sinks = 4};

AttentionPlan plan_of(const Mask& mask, DecodeRule rule = DecodeRule::kSame) {
  return *AttentionPlan::from_mask(mask, FullAttention{}, kWindow, rule);
}

TEST(PlanTest, EqualMeaningHasOneIdWhateverTheGranularity) {
  const Mask layers = Mask::of_layers(kLayout, {1, 4});
  Mask heads(Granularity::kQueryHead, kLayout, false);
  Mask kv_heads(Granularity::kKvHead, kLayout, false);
  for (const std::size_t layer : {1u, 4u}) {
    for (std::size_t head = 0; head < 4; ++head) heads = heads.with(layer * 4 + head, true);
    for (std::size_t head = 0; head < 2; ++head) kv_heads = kv_heads.with(layer * 2 + head, true);
  }
  EXPECT_EQ(plan_of(layers).id(), plan_of(heads).id());
  EXPECT_EQ(plan_of(layers).id(), plan_of(kv_heads).id());
  EXPECT_EQ(plan_of(heads).granularity(), Granularity::kLayer);
  EXPECT_NE(plan_of(layers).id(), plan_of(layers, DecodeRule::kFull).id());
  EXPECT_NE(plan_of(layers).id(), plan_of(Mask::of_layers(kLayout, {1, 5})).id());
}

TEST(PlanTest, UnusedEntriesOrderAndTheRuleOfFullAttentionDoNotCount) {
  const std::vector<int> cells = {0, 1, 1, 0, 0, 1};
  const std::vector<int> swapped = {2, 0, 0, 2, 2, 0};
  const AttentionPlan a = *AttentionPlan::from_cells(
      Granularity::kLayer, kLayout,
      {{FullAttention{}, DecodeRule::kSame}, {kWindow, DecodeRule::kSame}}, cells);
  const AttentionPlan b = *AttentionPlan::from_cells(Granularity::kLayer, kLayout,
                                                     {{kWindow, DecodeRule::kSame},
                                                      {SlidingWindow{99, 0}, DecodeRule::kSame},
                                                      {FullAttention{}, DecodeRule::kFull}},
                                                     swapped);
  EXPECT_EQ(a.id(), b.id());
  EXPECT_EQ(a.to_json(), b.to_json());
  EXPECT_EQ(a.palette().size(), 2u);
}

TEST(PlanTest, TheIdIsPinned) {
  // Ids are keys of users' databases: this one may never change for format 1.
  EXPECT_EQ(AttentionPlan::full(kLayout).to_json()["id"], AttentionPlan::full(kLayout).id());
  EXPECT_EQ(AttentionPlan::full(kLayout).id(),
            "4c293c7eba11b5ed935f9a05eb515cb586b162cf3ea3c167e023b6d884489b81");
}

TEST(PlanTest, RandomPlansRoundTripThroughJson) {
  for (int seed = 0; seed < 300; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "plan json");
    const auto g = static_cast<Granularity>(rng.below(3));
    std::vector<PaletteEntry> palette = {{FullAttention{}, DecodeRule::kSame}};
    for (std::uint64_t i = rng.below(4); i > 0; --i)
      palette.push_back({SlidingWindow{rng.between(1, 50), rng.between(0, 8)},
                         rng.below(2) == 0 ? DecodeRule::kSame : DecodeRule::kFull});
    std::vector<int> cells(static_cast<std::size_t>(6 * kLayout.units_per_layer(g)));
    for (int& cell : cells) cell = static_cast<int>(rng.below(palette.size()));
    const AttentionPlan plan = *AttentionPlan::from_cells(g, kLayout, palette, cells);
    const auto units = 4 / kLayout.units_per_layer(g);
    for (int layer = 0; layer < 6; ++layer)
      for (int head = 0; head < 4; ++head) {
        PaletteEntry expected = palette[static_cast<std::size_t>(
            cells[static_cast<std::size_t>(layer * (4 / units) + head / units)])];
        ASSERT_EQ(plan.entry(layer, head), expected) << "seed " << seed;
      }
    const Result<AttentionPlan> back =
        AttentionPlan::from_json(nlohmann::json::parse(plan.to_json().dump()), kLayout);
    ASSERT_TRUE(back) << back.error().text() << " seed " << seed;
    EXPECT_EQ(back->id(), plan.id());
    EXPECT_EQ(back->to_json(), plan.to_json());
  }
}

TEST(PlanTest, AKvHeadIsFreedOnlyIfAllItsQueryHeadsAllowIt) {
  Mask mask(Granularity::kQueryHead, kLayout, false);
  const AttentionPlan plan = plan_of(mask.with(1, true));  // layer 0, query head 1 → KV head 0
  EXPECT_TRUE(plan.retention(0, 0).all);
  EXPECT_EQ(plan.retention(0, 1), (AttentionPlan::Retention{false, 16, 4}));
  EXPECT_TRUE(plan_of(mask, DecodeRule::kFull).retention(3, 1).all);
}

TEST(PlanTest, ImpossiblePlansAreErrors) {
  const Mask mask(Granularity::kLayer, kLayout, false);
  EXPECT_EQ(AttentionPlan::from_mask(mask, FullAttention{}, SlidingWindow{0, 4}, DecodeRule::kSame)
                .error()
                .text(),
            "window is 0; expected at least 1 token\n"
            "  hint: the window counts the query's own token, so 1 sees only itself");
  EXPECT_FALSE(
      AttentionPlan::from_mask(mask, FullAttention{}, SlidingWindow{8, -1}, DecodeRule::kSame));
}

TEST(PlanTest, FilesOfOthersAreChecked) {
  const nlohmann::json good = plan_of(Mask::of_layers(kLayout, {2})).to_json();
  const auto error = [](const nlohmann::json& json) {
    const auto plan = AttentionPlan::from_json(json, kLayout);
    return plan ? std::string("accepted") : plan.error().text();
  };
  EXPECT_EQ(error(good), "accepted");
  nlohmann::json bad = good;
  bad["cells"][0][0] = 1 - bad["cells"][0][0].get<int>();
  EXPECT_NE(error(bad).find("the file was edited"), std::string::npos);
  bad = good;
  bad["cells"][0][0] = 7;
  EXPECT_EQ(error(bad), "plan, layer 0: expected a palette index below 2, got 7");
  bad = good;
  bad["cells"].erase(0);
  EXPECT_NE(error(bad).find("'cells' has 5 layers; the model has 6"), std::string::npos);
  bad = good;
  bad["format"] = 2;
  EXPECT_EQ(error(bad), "plan: expected format 1, got 2");
  bad = good;
  bad["palette"][1]["kind"] = "mamba";
  EXPECT_EQ(error(bad), "mixer kind 'mamba'; expected one of full, sliding_window");
  bad = good;
  bad["palette"][1]["window"] = "16";
  EXPECT_EQ(error(bad), "mixer field 'window': expected an integer, got \"16\"");
  for (const char* field : {"format", "granularity", "palette", "cells"}) {
    bad = good;
    bad.erase(field);
    EXPECT_NE(error(bad), "accepted") << field;
    bad[field] = nullptr;
    EXPECT_NE(error(bad), "accepted") << field;
  }
  EXPECT_NE(error(nlohmann::json::array()), "accepted");
}

TEST(VisibilityTest, TheRuleWordForWord) {
  const PaletteEntry same{SlidingWindow{4, 2}, DecodeRule::kSame};
  const PaletteEntry full_decode{SlidingWindow{4, 2}, DecodeRule::kFull};
  EXPECT_TRUE(is_visible(same, 10, 10, 20));
  EXPECT_TRUE(is_visible(same, 10, 7, 20));          // i − j = 3 < 4
  EXPECT_FALSE(is_visible(same, 10, 6, 20));         // i − j = 4
  EXPECT_TRUE(is_visible(same, 10, 1, 20));          // sink
  EXPECT_FALSE(is_visible(same, 10, 2, 20));         // one past the sinks
  EXPECT_FALSE(is_visible(same, 10, 11, 20));        // the future
  EXPECT_FALSE(is_visible(full_decode, 10, 6, 11));  // the last prompt token is a prompt query
  EXPECT_TRUE(is_visible(full_decode, 11, 6, 11));
  EXPECT_FALSE(is_visible(same, 11, 6, 11));
}

}  // namespace
}  // namespace strata
