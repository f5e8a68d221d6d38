// Rotary embedding, and what gpt_oss has that others have not.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tests/unit/checkpoint/config_patches.h"

namespace strata {
namespace {

using nlohmann::json;
using testing::error_text;
using testing::gpt_oss;
using testing::of;
using testing::parse_with;

TEST(HfLayers, BothSpellingsOfRopeScalingMeanTheSame) {
  json scaling = {{"rope_type", "llama3"},
                  {"factor", 32.0},
                  {"low_freq_factor", 1.0},
                  {"high_freq_factor", 4.0},
                  {"original_max_position_embeddings", 32}};
  const auto old_style = parse_with({{"rope_scaling", scaling}, {"rope_theta", 500000.0}});
  ASSERT_EQ(error_text(old_style), "no error");
  EXPECT_EQ(old_style->rope_scaling, RopeScaling(Llama3RopeScaling{32.0, 1.0, 4.0, 32}));
  EXPECT_EQ(old_style->rope_theta, 500000.0);
  scaling["rope_theta"] = 500000.0;
  EXPECT_EQ(*parse_with({{"rope_parameters", scaling}}), *old_style);
  scaling.erase("original_max_position_embeddings");
  EXPECT_EQ(parse_with({{"rope_parameters", scaling}})->rope_scaling,
            RopeScaling(Llama3RopeScaling{32.0, 1.0, 4.0, 64}));
  EXPECT_EQ(parse_with({{"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}}}})
                ->rope_theta,
            7.0);
  EXPECT_EQ(parse_with({{"rope_scaling", {{"type", "default"}}}})->rope_scaling, std::nullopt);
}

TEST(HfLayers, LinearRopeScalingIsReadInEverySpelling) {
  const RopeScaling eight = LinearRopeScaling{8.0};
  EXPECT_EQ(parse_with({{"rope_scaling", {{"type", "linear"}, {"factor", 8}}}})->rope_scaling,
            eight);
  // Where they began counts for the other kinds only.
  const auto a = parse_with(
      {{"original_max_position_embeddings", 32},
       {"rope_parameters", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 7.0}}}});
  ASSERT_EQ(error_text(a), "no error");
  EXPECT_EQ(a->rope_scaling, eight);
  EXPECT_EQ(a->rope_theta, 7.0);
}

TEST(HfLayers, Gemma3StretchesItsFullAttentionLayersOnly) {
  const auto a = parse_with(
      of("gemma3_text",
         {{"rope_parameters",
           {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 5e5}}},
            {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}}},
          {"sliding_window_pattern", 2}}));
  ASSERT_EQ(error_text(a), "no error");
  EXPECT_EQ(a->rope_scaling, RopeScaling(LinearRopeScaling{8.0}));
  EXPECT_EQ(a->rope_theta, 5e5);
  EXPECT_EQ(a->local_rope_theta, 2e4);
  const auto old =
      parse_with(of("gemma3_text", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}},
                                    {"rope_theta", 5e5},
                                    {"rope_local_base_freq", 2e4},
                                    {"sliding_window_pattern", 2}}));
  ASSERT_EQ(error_text(old), "no error");
  EXPECT_EQ(*old, *a);
}

TEST(HfLayers, YarnRopeScalingTakesTheDefaultsOfTransformers) {
  const auto yarn = [](json patch) {
    patch.update({{"rope_type", "yarn"}, {"factor", 32.0}});
    const auto a = parse_with({{"rope_parameters", patch}});
    EXPECT_EQ(error_text(a), "no error");
    return std::get<YarnRopeScaling>(*a->rope_scaling);
  };
  const double usual = 0.1 * std::log(32.0) + 1;
  EXPECT_EQ(yarn(json::object()), (YarnRopeScaling{32.0, 32.0, 1.0, 64, true, usual}));
  EXPECT_EQ(yarn({{"beta_fast", 8},
                  {"beta_slow", 2},
                  {"original_max_position_embeddings", 16},
                  {"truncate", false},
                  {"attention_factor", 1.5}}),
            (YarnRopeScaling{32.0, 8.0, 2.0, 16, false, 1.5}));
  EXPECT_DOUBLE_EQ(yarn({{"mscale", 1.0}, {"mscale_all_dim", 0.5}}).attention_factor,
                   usual / (0.05 * std::log(32.0) + 1));
  EXPECT_EQ(yarn({{"mscale", 0.7}}).attention_factor, usual);  // one alone counts for nothing
}

TEST(HfLayers, AGptOssHasExpertsSinkLogitsAndEverySecondLayerSlides) {
  const auto a = parse_with(gpt_oss({{"head_dim", nullptr}, {"num_hidden_layers", 3}}));
  ASSERT_EQ(error_text(a), "no error");
  EXPECT_EQ(a->family, ModelFamily::kGptOss);
  EXPECT_EQ(a->head_dim, 64);
  EXPECT_TRUE(a->sink_logits && a->qkv_bias && a->o_bias);
  EXPECT_FALSE(a->qk_norm || a->tie_word_embeddings);
  EXPECT_EQ(a->experts, (ExpertMixture{4, 2, 1.702, 7.0}));
  EXPECT_EQ(a->windows, (std::vector<std::int64_t>{128, 0, 128}));
  EXPECT_EQ(a->rope_theta, 150000);
  EXPECT_EQ(a->rope_scaling,
            RopeScaling(YarnRopeScaling{32, 32, 1, 4096, false, 0.1 * std::log(32.0) + 1}));
}

TEST(HfLayers, WhatAGptOssSaysReplacesTheDefaults) {
  const auto a = parse_with(gpt_oss({{"attention_bias", false},
                                     {"swiglu_alpha", 1.5},
                                     {"swiglu_limit", 3.0},
                                     {"sliding_window", 8},
                                     {"layer_types", {"full_attention", "sliding_attention"}},
                                     {"rope_parameters", {{"rope_type", "default"}}}}));
  ASSERT_EQ(error_text(a), "no error");
  EXPECT_FALSE(a->qkv_bias || a->o_bias);
  EXPECT_EQ(a->experts, (ExpertMixture{4, 2, 1.5, 3.0}));
  EXPECT_EQ(a->windows, (std::vector<std::int64_t>{0, 8}));
  EXPECT_EQ(a->rope_scaling, std::nullopt);
  EXPECT_EQ(a->rope_theta, 150000);
}

TEST(HfLayers, TheFingerprintOfAGptOssNamesItsExperts) {
  const std::string print = parse_with(gpt_oss(json::object()))->fingerprint();
  for (const json& other : {json{{"num_local_experts", 5}}, json{{"num_experts_per_tok", 1}},
                            json{{"swiglu_alpha", 1.5}}, json{{"swiglu_limit", 3.0}},
                            json{{"rope_parameters", {{"rope_type", "default"}}}}})
    EXPECT_NE(parse_with(gpt_oss(other))->fingerprint(), print) << other;
}

TEST(HfLayers, WhatCannotBeComputedOrIsWrongIsAnError) {
  const std::vector<std::pair<json, std::string>> table{
      {{{"rope_scaling", "linear"}}, "'rope_scaling': expected an object, got \"linear\""},
      {{{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}}},
       "'rope_scaling.type': expected \"default\", \"linear\", \"llama3\" or \"yarn\", got "
       "\"dynamic\""},
      {{{"rope_parameters", {{"rope_type", "longrope"}, {"factor", 2.0}}}},
       "'rope_parameters.rope_type': expected \"default\", \"linear\", \"llama3\" or \"yarn\", "
       "got \"longrope\""},
      {{{"rope_scaling", {{"type", "yarn"}}}},
       "'rope_scaling.factor': expected a number from 1 to 1000000, got nothing"},
      {{{"rope_scaling", {{"type", "yarn"}, {"factor", 2}, {"beta_fast", 0.5}}}},
       "'rope_scaling.beta_fast': expected at least beta_slow, got 0.5"},
      {{{"rope_scaling", {{"type", "yarn"}, {"factor", 2}, {"truncate", 1}}}},
       "'rope_scaling.truncate': expected true or false, got 1"},
      {of("gemma3_text", {{"rope_scaling", {{"type", "yarn"}, {"factor", 2}}}}),
       "'rope_type': expected \"default\", \"linear\" or \"llama3\" in a gemma3_text model, got "
       "\"yarn\""},
      {gpt_oss({{"num_local_experts", nullptr}}),
       "'num_local_experts': expected an integer from 1 to 100000, got nothing"},
      {gpt_oss({{"num_experts_per_tok", 5}}),
       "'num_experts_per_tok': expected an integer from 1 to 4, got 5"},
      {gpt_oss({{"swiglu_limit", 0}}),
       "'swiglu_limit': expected a number from 1e-06 to 1000000000, got 0"},
      {gpt_oss({{"sliding_window", 0}}),
       "'sliding_window': expected an integer from 1 to 100000000, got 0"},
      {gpt_oss({{"quantization_config", {{"quant_method", "mxfp4"}}}}),
       "'quantization_config': expected null, got an object\n  hint: dequantise it first: "
       "transformers loads it with Mxfp4Config(dequantize=True), and save_pretrained writes what "
       "strata reads"},
      {{{"num_local_experts", 8}}, "'num_local_experts': expected null, got 8"},
      {{{"rope_scaling", {{"type", "linear"}}}},
       "'rope_scaling.factor': expected a number from 1 to 1000000, got nothing"},
      {{{"rope_scaling", {{"type", "linear"}, {"factor", 0.5}}}},
       "'rope_scaling.factor': expected a number from 1 to 1000000, got 0.5"},
      {{{"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}},
       "'rope_parameters.full_attention': expected no such field, got an object"},
      {{{"rope_scaling", {{"mrope_section", {1, 2}}}}},
       "'rope_scaling.mrope_section': expected no such field, got an array of 2"},
      {{{"rope_parameters", {{"partial_rotary_factor", 0.25}}}},
       "'rope_parameters.partial_rotary_factor': expected 1, got 0.25"},
      {{{"rope_scaling", {{"rope_type", "llama3"}}}},
       "'rope_scaling.factor': expected a number from 1 to 1000000, got nothing"},
      {of("gemma3_text",
          {{"rope_parameters", {{"sliding_attention", {{"rope_type", "linear"}, {"factor", 2}}}}}}),
       "'rope_parameters': expected no scaling of the sliding layers, got an object"},
      {{{"rope_scaling",
         {{"rope_type", "llama3"},
          {"factor", 8},
          {"low_freq_factor", 4},
          {"high_freq_factor", 4}}}},
       "'rope_scaling.high_freq_factor': expected more than low_freq_factor, got 4"},
      {{{"rope_scaling", {{"type", "default"}}}, {"rope_parameters", {{"rope_type", "default"}}}},
       "'rope_scaling': expected nothing beside rope_parameters, got an object"},
      {of("gemma3_text", {{"rope_parameters", {{"full_attention", 3}}}}),
       "'rope_parameters.full_attention': expected an object, got 3"},
  };
  for (const auto& [patch, expected] : table)
    EXPECT_EQ(error_text(parse_with(patch)), "config.json: field " + expected) << patch;
}

}  // namespace
}  // namespace strata
