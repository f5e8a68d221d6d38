// What an export says and refuses; that transformers then computes the plan is
// tests/parity/family_parity_test.cc.
#include "runner/export.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "models/checkpoint/hf_config.h"

namespace strata {
namespace {

constexpr HeadLayout kLayout{.layers = 2, .query_heads = 4, .kv_heads = 2};

std::string config(const char* model_type, const nlohmann::json& more = nlohmann::json::object()) {
  nlohmann::json json = {{"model_type", model_type}, {"num_hidden_layers", 2},
                         {"num_attention_heads", 4}, {"num_key_value_heads", 2},
                         {"hidden_size", 8},         {"intermediate_size", 6},
                         {"vocab_size", 5},          {"max_position_embeddings", 64},
                         {"something_else", "stays"}};
  json.update(more);
  return json.dump();
}

// Layers: 1 full attention, 0 the window.
AttentionPlan plan(std::vector<int> kept, SlidingWindow window = {16, 0},
                   DecodeRule rule = DecodeRule::kSame) {
  std::vector<int> layers;
  for (std::size_t i = 0; i < kept.size(); ++i)
    if (kept[i] == 1) layers.push_back(static_cast<int>(i));
  return *AttentionPlan::from_mask(Mask::of_layers(kLayout, layers), FullAttention{}, window, rule);
}

std::string error_of(const Result<std::string>& result) {
  return result ? "no error" : result.error().text();
}

TEST(ExportHf, OurReaderFindsThePlanAgain) {
  const nlohmann::json experts = {{"num_local_experts", 4}, {"num_experts_per_tok", 2}};
  for (const char* family :
       {"gpt_oss", "llama", "mistral", "ministral", "qwen2", "qwen3", "smollm3"})
    for (const auto& kept : {std::vector<int>{1, 0}, {0, 0}, {1, 1}}) {
      const AttentionPlan wanted = plan(kept);
      const auto text = export_hf(
          wanted, family == std::string("gpt_oss") ? config(family, experts) : config(family),
          "config.json");
      ASSERT_EQ(error_of(text), "no error") << family;
      const auto again = parse_architecture(*text, "exported");
      ASSERT_TRUE(again) << again.error().text();
      EXPECT_EQ(again->native_plan(), wanted) << family;
      EXPECT_EQ(nlohmann::json::parse(*text)["something_else"], "stays");
    }
}

TEST(ExportHf, ALlamaBecomesAMinistralOfTheSameSizes) {
  const auto json = nlohmann::json::parse(*export_hf(plan({1, 0}), config("llama"), "config.json"));
  EXPECT_EQ(json["model_type"], "ministral");
  EXPECT_EQ(json["architectures"], nlohmann::json({"MinistralForCausalLM"}));
  EXPECT_EQ(json["sliding_window"], 16);
  EXPECT_EQ(json["layer_types"], nlohmann::json({"full_attention", "sliding_attention"}));
  EXPECT_EQ(json["head_dim"], 2);  // the classes' defaults differ
}

TEST(ExportHf, WhatNoClassComputesIsRefusedWithTheReason) {
  const std::string no_class = "no class of transformers computes this plan: ";
  EXPECT_EQ(error_of(export_hf(plan({1, 0}, {16, 4}), config("llama"), "c")),
            no_class + "windowed layers have 4 sinks\n  hint: select with mixer.sinks=0");
  EXPECT_EQ(error_of(export_hf(plan({1, 0}, {16, 0}, DecodeRule::kFull), config("llama"), "c")),
            no_class + "layer 1 decodes with full attention\n  hint: select with decode_rule=same");
  const PaletteEntry narrow{SlidingWindow{8, 0}, DecodeRule::kSame};
  const PaletteEntry wide{SlidingWindow{16, 0}, DecodeRule::kSame};
  const AttentionPlan two =
      *AttentionPlan::from_cells(Granularity::kLayer, kLayout, {narrow, wide}, {0, 1});
  EXPECT_EQ(error_of(export_hf(two, config("qwen2"), "c")),
            no_class + "windows of 8 and 16 tokens\n  hint: the format has one window a model");
  const AttentionPlan heads = *AttentionPlan::from_cells(
      Granularity::kKvHead, kLayout, {{FullAttention{}, DecodeRule::kSame}, wide}, {0, 1, 1, 1});
  EXPECT_EQ(error_of(export_hf(heads, config("llama"), "c")),
            no_class + "heads of one layer differ\n  hint: select with granularity=layer");
  EXPECT_EQ(error_of(export_hf(plan({1, 0}), config("llama", {{"attention_bias", true}}), "c")),
            no_class + "Llama's attention biases have no place in Ministral");
  const std::string gemma = config("gemma3_text", {{"sliding_window_pattern", 2}});
  EXPECT_EQ(error_of(export_hf(plan({0, 1}), gemma, "c")), "no error");
  EXPECT_EQ(error_of(export_hf(plan({1, 1}), gemma, "c")),
            no_class +
                "layer 0 changes between full and sliding attention, and a Gemma-3 layer would "
                "change its rotary embedding with it");
  EXPECT_EQ(error_of(export_hf(plan({1, 0}), config("llama", {{"num_hidden_layers", 3}}), "c")),
            "the plan is for 2 layers of 4 query and 2 KV heads, c has 3 of 4 and 2");
  EXPECT_EQ(error_of(export_hf(plan({1, 0}), "[]", "c")).substr(0, 3), "c: ");
}

TEST(ExportSwaa, WindowSinksDecodeRuleAndFullLayersAreItsFourSettings) {
  EXPECT_EQ(*export_swaa(plan({1, 0}, {16, 4})), R"({
  "sliding_window_size": 16,
  "keep_first": 4,
  "force_fa_decode": false,
  "non_sliding_layers": [
    0
  ]
}
)");
  const auto settings = [](const AttentionPlan& under) {
    return nlohmann::json::parse(*export_swaa(under));
  };
  EXPECT_EQ(settings(plan({1, 0}, {16, 4}, DecodeRule::kFull))["force_fa_decode"], true);
  EXPECT_EQ(settings(plan({0, 0}))["non_sliding_layers"], nlohmann::json::array());
  EXPECT_EQ(settings(plan({1, 1}))["sliding_window_size"], nullptr);
  EXPECT_EQ(settings(plan({1, 1}))["force_fa_decode"], false);
  // Full decoding in one of the two windowed layers.
  const AttentionPlan mixed = *AttentionPlan::from_cells(
      Granularity::kLayer, kLayout,
      {{SlidingWindow{16, 0}, DecodeRule::kSame}, {SlidingWindow{16, 0}, DecodeRule::kFull}},
      {0, 1});
  EXPECT_EQ(settings(mixed)["force_fa_decode"], nlohmann::json({1}));
}

TEST(ExportSwaa, WhatItsSettingsCannotSayIsRefused) {
  const std::string cannot = "SWAA's settings cannot say this plan: ";
  const PaletteEntry few{SlidingWindow{16, 4}, DecodeRule::kSame};
  const PaletteEntry many{SlidingWindow{16, 8}, DecodeRule::kSame};
  EXPECT_EQ(error_of(export_swaa(
                *AttentionPlan::from_cells(Granularity::kLayer, kLayout, {few, many}, {0, 1}))),
            cannot +
                "4 sinks in one layer, 8 in another\n  hint: the format has one number of "
                "sinks a model");
  EXPECT_EQ(error_of(export_swaa(*AttentionPlan::from_cells(
                Granularity::kKvHead, kLayout, {{FullAttention{}, DecodeRule::kSame}, few},
                {0, 1, 1, 1}))),
            cannot + "heads of one layer differ\n  hint: select with granularity=layer");
}

TEST(Export, LinearAttentionHasNoPlaceInAnyFormat) {
  const AttentionPlan linear =
      *AttentionPlan::from_mask(Mask::of_layers(kLayout, {0}), FullAttention{},
                                LinearAttention{LinearKind::kGla}, DecodeRule::kSame);
  const std::string says =
      "layer 1 is gla linear attention\n  hint: its branch has weights of its own, which no other "
      "system's format holds";
  EXPECT_EQ(error_of(export_hf(linear, config("qwen3"), "config.json")),
            "no class of transformers computes this plan: " + says);
  EXPECT_EQ(error_of(export_swaa(linear)), "SWAA's settings cannot say this plan: " + says);
  EXPECT_EQ(error_of(export_heads(linear)),
            "layer 1, KV head 0: gla linear attention, and the format knows full and streaming "
            "attention only\n  hint: select with mixer=sliding_window");
}

TEST(ExportHeads, AKvHeadIsARowOfItsLayer) {
  EXPECT_EQ(*export_heads(plan({1, 0})), "1.0\t1.0\n0.0\t0.0\n");
  const PaletteEntry wide{SlidingWindow{16, 4}, DecodeRule::kSame};
  const std::vector<PaletteEntry> palette{{FullAttention{}, DecodeRule::kSame}, wide};
  EXPECT_EQ(*export_heads(
                *AttentionPlan::from_cells(Granularity::kKvHead, kLayout, palette, {0, 1, 1, 0})),
            "1.0\t0.0\n0.0\t1.0\n");
  EXPECT_EQ(error_of(export_heads(*AttentionPlan::from_cells(Granularity::kQueryHead, kLayout,
                                                             palette, {0, 0, 1, 1, 0, 1, 1, 1}))),
            "layer 1, KV head 0: its query heads differ, and the format knows KV heads only\n"
            "  hint: select with granularity=kv_head");
}

}  // namespace
}  // namespace strata
