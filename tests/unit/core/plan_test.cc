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
  EXPECT_EQ(plan_of(Mask::of_layers(kLayout, {1, 4})).id(),
            "11c8bdb8286ec597de841a477104f797c79365449c1e80b582ca453eca627a7a");
}

TEST(PlanTest, LinearAttentionIsItsKindAlone) {
  const Mask kept = Mask::of_layers(kLayout, {1});
  const auto with = [&](LinearKind kind) {
    return *AttentionPlan::from_mask(kept, FullAttention{}, LinearAttention{kind},
                                     DecodeRule::kSame);
  };
  const nlohmann::json json = with(LinearKind::kGatedDeltaNet).to_json();
  EXPECT_EQ(json["palette"], nlohmann::json::parse(R"([{"kind": "full"},
      {"kind": "linear_attention", "linear": "gated_deltanet"}])"));
  EXPECT_EQ(json["mask"], to_json(kept));
  EXPECT_EQ(AttentionPlan::from_json(json, kLayout)->palette()[1].mixer,
            MixerSpec(LinearAttention{LinearKind::kGatedDeltaNet}));
  EXPECT_EQ(full_attention_of(with(LinearKind::kGla)), kept);
  EXPECT_NE(with(LinearKind::kGla).id(), with(LinearKind::kLightning).id());
  for (const auto& [kind, name] : kLinearKinds) EXPECT_EQ(*parse_linear_kind(name), kind);
}

TEST(PlanTest, WhatEachMixerCanDo) {
  const MixerTraits linear = traits_of(LinearAttention{LinearKind::kGla});
  EXPECT_EQ(linear.finest, Granularity::kQueryHead);
  EXPECT_TRUE(linear.needs_trained_weights && linear.has_recurrent_state);
  EXPECT_FALSE(linear.supports_full_decode || linear.cost_depends_on_data);
  for (const MixerSpec& softmax : {MixerSpec(FullAttention{}), MixerSpec(kWindow)}) {
    const MixerTraits traits = traits_of(softmax);
    EXPECT_TRUE(traits.supports_full_decode) << name_of(softmax);
    EXPECT_FALSE(traits.needs_trained_weights || traits.has_recurrent_state) << name_of(softmax);
  }
}

TEST(PlanTest, LinearAttentionCannotDecodeWithFullAttention) {
  const PaletteEntry full{FullAttention{}, DecodeRule::kSame};
  const PaletteEntry linear{LinearAttention{LinearKind::kGla}, DecodeRule::kFull};
  const std::string says =
      "decode rule 'full' needs softmax attention over the same keys; linear_attention keeps none "
      "of them\n  hint: set decode_rule=same";
  EXPECT_EQ(AttentionPlan::from_cells(Granularity::kKvHead, kLayout, {full, linear},
                                      {0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0})
                .error()
                .text(),
            "plan, layer 3: " + says);
  EXPECT_EQ(AttentionPlan::from_cells(Granularity::kLayer, kLayout, {full, linear},
                                      std::vector<int>(6, 0))
                .error()
                .text(),
            "plan: " + says);
}

TEST(PlanTest, RandomPlansRoundTripThroughJson) {
  for (int seed = 0; seed < 300; ++seed) {
    Rng rng(static_cast<std::uint64_t>(seed), "plan json");
    const auto g = static_cast<Granularity>(rng.below(3));
    std::vector<PaletteEntry> palette = {{FullAttention{}, DecodeRule::kSame}};
    if (rng.below(2) == 0)
      palette.push_back(
          {LinearAttention{kLinearKinds[rng.below(kLinearKinds.size())].first}, DecodeRule::kSame});
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

TEST(PlanTest, LinearAttentionKeepsNoKeys) {
  // KV head 0: linear and windowed; KV head 1: linear alone; in layer 1 beside full attention.
  const PaletteEntry linear{LinearAttention{LinearKind::kLightning}, DecodeRule::kSame};
  std::vector<int> cells(24, 1);
  cells[0] = 2;
  cells[4] = 0;
  const AttentionPlan plan = *AttentionPlan::from_cells(
      Granularity::kQueryHead, kLayout,
      {{FullAttention{}, DecodeRule::kSame}, linear, {kWindow, DecodeRule::kSame}}, cells);
  EXPECT_EQ(plan.retention(0, 0), (AttentionPlan::Retention{false, 16, 4}));
  EXPECT_EQ(plan.retention(0, 1), (AttentionPlan::Retention{false, 0, 0}));
  EXPECT_TRUE(plan.retention(1, 0).all);
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
  EXPECT_EQ(error(bad),
            "mixer kind 'mamba'; expected one of full, sliding_window, linear_attention");
  bad["palette"][1] = {{"kind", "linear_attention"}};
  EXPECT_EQ(error(bad), "mixer field 'linear': expected a name, got none");
  bad["palette"][1]["linear"] = 1;
  EXPECT_EQ(error(bad), "mixer field 'linear': expected a name, got 1");
  bad["palette"][1]["linear"] = "retnet";
  EXPECT_EQ(error(bad),
            "linear attention 'retnet'; expected one of lightning, gla, gated_deltanet");
  bad["palette"][1]["linear"] = "gla";
  bad["palette"][1]["decode_rule"] = "full";
  EXPECT_EQ(error(bad).substr(0, 52), "plan, layer 0: decode rule 'full' needs softmax atte");
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
