#include "models/checkpoint/hf_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/checkpoint/config_patches.h"

namespace strata {
namespace {

using nlohmann::json;
using testing::base;
using testing::error_text;
using testing::of;
using testing::parse_with;

Result<Architecture> parse_with_null(const char* field) {
  json config = base();
  config[field] = nullptr;
  return parse_architecture(config.dump(), "config.json");
}

TEST(HfConfig, ALlamaIsRead) {
  const auto a = parse_with({{"rope_theta", 100000.0}, {"tie_word_embeddings", true}});
  ASSERT_EQ(error_text(a), "no error");
  EXPECT_EQ(a->family, ModelFamily::kLlama);
  EXPECT_EQ(a->layout(), (HeadLayout{2, 4, 2}));
  EXPECT_EQ(a->hidden, 8);
  EXPECT_EQ(a->head_dim, 2);
  EXPECT_EQ(a->intermediate, 6);
  EXPECT_EQ(a->vocabulary, 5);
  EXPECT_EQ(a->max_positions, 64);
  EXPECT_EQ(a->rope_theta, 100000.0);
  EXPECT_EQ(a->rms_norm_eps, 1e-6);
  EXPECT_TRUE(a->tie_word_embeddings);
  EXPECT_FALSE(a->qkv_bias || a->o_bias || a->qk_norm || a->rope_scaling);
  EXPECT_EQ(a->bos_token, 1);
  EXPECT_EQ(a->eos_tokens, std::vector<TokenId>{2});
}

TEST(HfConfig, AbsentFieldsTakeTheDefaultsOfTheFamily) {
  EXPECT_EQ(parse_with({{"num_key_value_heads", nullptr}})->kv_heads, 4);
  EXPECT_EQ(parse_with_null("num_key_value_heads")->kv_heads, 4);
  EXPECT_EQ(parse_with_null("head_dim")->head_dim, 2);
  EXPECT_EQ(parse_with({{"head_dim", 16}})->head_dim, 16);
  EXPECT_EQ(parse_with(json::object())->rope_theta, 10000.0);
  const json qwen3 = {{"model_type", "qwen3"}, {"architectures", {"Qwen3ForCausalLM"}}};
  EXPECT_EQ(parse_with(qwen3)->head_dim, 128);
  const json qwen2 = {{"model_type", "qwen2"},
                      {"architectures", nullptr},
                      {"num_attention_heads", 64},
                      {"hidden_size", 128},
                      {"num_key_value_heads", nullptr}};
  EXPECT_EQ(parse_with(qwen2)->kv_heads, 32);
}

TEST(HfConfig, BiasesAndNormsFollowTheFamily) {
  const auto biases = [](const char* type, json patch) {
    patch["model_type"] = type;
    patch["architectures"] = nullptr;
    const auto a = parse_with(patch);
    EXPECT_EQ(error_text(a), "no error");
    return fmt::format("{} {} {}", a->qkv_bias, a->o_bias, a->qk_norm);
  };
  EXPECT_EQ(biases("llama", {{"attention_bias", true}}), "true true false");
  EXPECT_EQ(biases("qwen2", json::object()), "true false false");
  EXPECT_EQ(biases("qwen2", {{"attention_bias", true}}), "true false false");
  EXPECT_EQ(biases("qwen3", json::object()), "false false true");
  EXPECT_EQ(biases("qwen3", {{"attention_bias", true}}), "true true true");
}

TEST(HfConfig, TokenIdsMayBeOneSeveralOrNone) {
  EXPECT_EQ(parse_with({{"eos_token_id", {2, 4}}})->eos_tokens, (std::vector<TokenId>{2, 4}));
  EXPECT_EQ(parse_with({{"eos_token_id", nullptr}})->eos_tokens, std::vector<TokenId>{});
  EXPECT_EQ(parse_with({{"bos_token_id", nullptr}})->bos_token, std::nullopt);
}

TEST(HfConfig, FieldsThatChangeNothingAreSkipped) {
  // It means something only where the rotary embedding is stretched.
  EXPECT_EQ(error_text(parse_with({{"original_max_position_embeddings", 32},
                                   {"rope_parameters", {{"rope_type", "default"}}}})),
            "no error");
  const auto a = parse_with({{"use_cache", true},
                             {"torch_dtype", "bfloat16"},
                             {"pretraining_tp", 1},
                             {"attention_dropout", 0.1},
                             {"sliding_window", 4096},
                             {"use_sliding_window", false},
                             {"layer_types", {"full_attention", "full_attention"}},
                             {"rope_interleaved", false},
                             {"partial_rotary_factor", 1.0},
                             {"initializer_range", 0.02},
                             {"unheard_of", {1}}});
  ASSERT_EQ(error_text(a), "no error");
  EXPECT_EQ(*a, *parse_with(json::object()));
}

// The windows of a config of this family.
std::vector<std::int64_t> windows_of(std::string_view family, json patch) {
  const auto a = parse_with(of(family, std::move(patch)));
  EXPECT_EQ(error_text(a), "no error");
  return a ? a->windows : std::vector<std::int64_t>{-1};
}

TEST(HfConfig, WindowsFollowLayerTypesAndElseTheFamily) {
  using Windows = std::vector<std::int64_t>;
  const json sliding = "sliding_attention", full = "full_attention";
  EXPECT_EQ(windows_of("llama", {{"sliding_window", 8}}), Windows{});
  EXPECT_EQ(windows_of("mistral", {}), (Windows{4096, 4096}));
  EXPECT_EQ(windows_of("mistral", {{"sliding_window", 8}}), (Windows{8, 8}));
  json mistral = base();
  mistral.merge_patch(of("mistral", {}));
  mistral["sliding_window"] = nullptr;  // a merge patch would remove it
  EXPECT_EQ(parse_architecture(mistral.dump(), "")->windows, Windows{});
  EXPECT_EQ(windows_of("ministral", {{"sliding_window", 8}, {"layer_types", {full, sliding}}}),
            (Windows{0, 8}));
  EXPECT_EQ(windows_of("qwen2", {{"sliding_window", 8}}), Windows{});
  EXPECT_EQ(windows_of("qwen2", {{"sliding_window", 8}, {"use_sliding_window", true}}), Windows{});
  EXPECT_EQ(
      windows_of("qwen3",
                 {{"sliding_window", 8}, {"use_sliding_window", true}, {"max_window_layers", 1}}),
      (Windows{0, 8}));
  EXPECT_EQ(windows_of("smollm3", {{"sliding_window", 8},
                                   {"use_sliding_window", true},
                                   {"no_rope_layer_interval", 2}}),
            (Windows{0, 8}));
  EXPECT_EQ(windows_of("gemma3_text", {{"sliding_window", 8}, {"sliding_window_pattern", 2}}),
            (Windows{8, 0}));
}

TEST(HfConfig, TheNativePlanIsTheHybridThatTheConfigNames) {
  const auto a =
      parse_with(of("ministral", {{"sliding_window", 8},
                                  {"layer_types", {"full_attention", "sliding_attention"}}}));
  const AttentionPlan plan = a->native_plan();
  EXPECT_TRUE(std::holds_alternative<FullAttention>(plan.entry(0, 0).mixer));
  EXPECT_EQ(std::get<SlidingWindow>(plan.entry(1, 0).mixer), (SlidingWindow{8, 0}));
  EXPECT_EQ(plan.entry(1, 0).rule, DecodeRule::kSame);
  EXPECT_TRUE(parse_with(json::object())->native_plan().is_full());
  // Any plan may be run on the same weights: which one the config names is no part of the model.
  EXPECT_EQ(a->fingerprint(), parse_with(of("ministral", {{"sliding_window", 9}}))->fingerprint());
}

TEST(HfConfig, Gemma3InItsOlderAndNewerSpellingIsTheSameModel) {
  const json old = of("gemma3_text", {{"rope_theta", 5e5},
                                      {"rope_local_base_freq", 2e4},
                                      {"sliding_window", 8},
                                      {"sliding_window_pattern", 2}});
  const json now =
      of("gemma3_text", {{"rope_parameters",
                          {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 5e5}}},
                           {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 2e4}}}}},
                         {"sliding_window", 8},
                         {"layer_types", {"sliding_attention", "full_attention"}}});
  const auto a = parse_with(old), b = parse_with(now);
  ASSERT_EQ(error_text(a), "no error");
  ASSERT_EQ(error_text(b), "no error");
  EXPECT_EQ(*a, *b);
  EXPECT_EQ(a->rope_theta, 5e5);
  EXPECT_EQ(a->local_rope_theta, 2e4);
  EXPECT_EQ(a->ropes, (std::vector<LayerRope>{LayerRope::kLocal, LayerRope::kGlobal}));
  EXPECT_EQ(a->query_scalar, 256);
  EXPECT_TRUE(a->sandwich_norms && a->norm_adds_one && a->scaled_embedding && a->qk_norm);
}

TEST(HfConfig, FieldsThatCannotBeComputedOrAreWrongAreErrors) {
  const std::vector<std::pair<json, std::string>> table{
      {{{"model_type", "gpt2"}},
       "'model_type': expected one of gemma3_text, gpt_oss, llama, ministral, mistral, qwen2, "
       "qwen3, "
       "smollm3, "
       "got \"gpt2\""},
      {{{"model_type", nullptr}, {"architectures", nullptr}},
       "'model_type': expected one of gemma3_text, gpt_oss, llama, ministral, mistral, qwen2, "
       "qwen3, "
       "smollm3, "
       "got nothing"},
      {{{"architectures", {"LlamaModel"}}},
       "'architectures': expected one of Gemma3ForCausalLM, GptOssForCausalLM, LlamaForCausalLM, "
       "MinistralForCausalLM, "
       "MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, SmolLM3ForCausalLM, got "
       "\"LlamaModel\""},
      {{{"architectures", {"Qwen2ForCausalLM"}}},
       "'architectures': expected \"LlamaForCausalLM\" for model_type \"llama\", got "
       "\"Qwen2ForCausalLM\""},
      {{{"architectures", json::array()}},
       "'architectures': expected an array of one name, got an array of 0"},
      {{{"architectures", "LlamaForCausalLM"}},
       "'architectures': expected an array of one name, got \"LlamaForCausalLM\""},
      {{{"hidden_act", "gelu"}}, "'hidden_act': expected \"silu\", got \"gelu\""},
      {{{"pretraining_tp", 2}}, "'pretraining_tp': expected 1, got 2"},
      {{{"mlp_bias", true}}, "'mlp_bias': expected false, got true"},
      {{{"rope_interleaved", true}}, "'rope_interleaved': expected false, got true"},
      {{{"partial_rotary_factor", 0.5}}, "'partial_rotary_factor': expected 1, got 0.5"},
      {{{"quantization_config", {{"bits", 4}}}},
       "'quantization_config': expected null, got an object"},
      {{{"embedding_multiplier", 12.0}}, "'embedding_multiplier': expected 1, got 12.0"},
      {{{"attn_logit_softcapping", 50.0}}, "'attn_logit_softcapping': expected null, got 50.0"},
      {{{"num_experts", 8}}, "'num_experts': expected null, got 8"},
      {{{"no_rope_layers", {1, 0}}}, "'no_rope_layers': expected null, got an array of 2"},
      {{{"per_layer_config", {{"0", {{"head_dim", 8}}}}}},
       "'per_layer_config': expected null, got an object"},
      {{{"use_sliding_window", true}, {"sliding_window", 8}},
       "'use_sliding_window': expected false, got true\n  hint: the Llama class ignores it; "
       "model_type ministral slides"},
      {{{"layer_types", {"full_attention", "sliding_attention"}}, {"sliding_window", 8}},
       "'layer_types[1]': expected \"full_attention\", since no sliding window is in use here, got "
       "\"sliding_attention\"\n  hint: a Llama's layer_types are ignored by its class: model_type "
       "ministral honours them; Qwen needs use_sliding_window"},
      {{{"layer_types", {"full_attention", "linear_attention"}}},
       "'layer_types[1]': expected \"full_attention\" or \"sliding_attention\", got "
       "\"linear_attention\""},
      {of("mistral", {{"sliding_window", 0}}),
       "'sliding_window': expected an integer from 1 to 100000000, got 0"},
      {of("smollm3", {{"no_rope_layers", {1}}}),
       "'no_rope_layers': expected an array of 2 (num_hidden_layers), got an array of 1"},
      {of("smollm3", {{"no_rope_layers", {1, 2}}}),
       "'no_rope_layers': expected an array of 1 (rotary embedding) and 0 (none), got an array of "
       "2"},
      {of("gemma3_text", {{"hidden_activation", "gelu"}}),
       "'hidden_activation': expected \"gelu_pytorch_tanh\", got \"gelu\""},
      {of("gemma3_text", {{"query_pre_attn_scalar", 0}}),
       "'query_pre_attn_scalar': expected a number from 1e-06 to 1000000000, got 0"},
      {{{"layer_types", {"full_attention"}}},
       "'layer_types': expected an array of 2 (num_hidden_layers), got an array of 1"},
      {{{"num_hidden_layers", nullptr}},
       "'num_hidden_layers': expected an integer from 1 to 10000, got nothing"},
      {{{"num_hidden_layers", 0}},
       "'num_hidden_layers': expected an integer from 1 to 10000, got 0"},
      {{{"num_hidden_layers", 2.0}},
       "'num_hidden_layers': expected an integer from 1 to 10000, got 2.0"},
      {{{"hidden_size", "8"}}, "'hidden_size': expected an integer from 1 to 100000000, got \"8\""},
      {{{"hidden_size", 18446744073709551615U}},
       "'hidden_size': expected an integer from 1 to 100000000, got 18446744073709551615"},
      {{{"vocab_size", -5}}, "'vocab_size': expected an integer from 1 to 100000000, got -5"},
      {{{"intermediate_size", true}},
       "'intermediate_size': expected an integer from 1 to 100000000, got true"},
      {{{"num_key_value_heads", 3}},
       "'num_key_value_heads': expected a divisor of num_attention_heads, 4, got 3"},
      {{{"hidden_size", 9}},
       "'hidden_size': expected a multiple of num_attention_heads, 4, where head_dim is not given, "
       "got 9"},
      {{{"head_dim", 3}},
       "'head_dim': expected an even number (rotary embedding turns pairs), got 3"},
      {{{"rms_norm_eps", -1e-6}}, "'rms_norm_eps': expected a number from 0 to 1, got -1e-06"},
      {{{"rope_theta", 0}}, "'rope_theta': expected a number from 1 to 1000000000000, got 0"},
      {{{"tie_word_embeddings", "yes"}},
       "'tie_word_embeddings': expected true or false, got \"yes\""},
      {{{"attention_bias", 1}}, "'attention_bias': expected true or false, got 1"},
      {{{"eos_token_id", 5}}, "'eos_token_id': expected token ids below vocab_size, 5, got 5"},
      {{{"eos_token_id", {2, "x"}}},
       "'eos_token_id': expected token ids below vocab_size, 5, got an array of 2"},
      {{{"bos_token_id", {1, 2}}}, "'bos_token_id': expected one token id, got an array of 2"},
      {{{"rope_scaling", {{"type", "yarn"}, {"factor", 2}}},
        {"original_max_position_embeddings", 32}},
       "'original_max_position_embeddings': expected it inside rope_scaling, got 32"},
  };
  for (const auto& [patch, expected] : table)
    EXPECT_EQ(error_text(parse_with(patch)), "config.json: field " + expected) << patch;
}

TEST(HfConfig, WhatIsNoJsonObjectIsAnError) {
  const auto text = [](std::string_view config) {
    return error_text(parse_architecture(config, "c"));
  };
  EXPECT_EQ(text(""), "c: invalid JSON at byte 1");
  EXPECT_EQ(text("{\"a\": }"), "c: invalid JSON at byte 7");
  EXPECT_EQ(text("[1]"), "c: expected a JSON object, got an array of 1");
  EXPECT_EQ(text(std::string_view("{}\0x", 4)), "c: invalid JSON at byte 3");
  EXPECT_EQ(text("{\"a\": 1e999}"), "c: invalid JSON: a number out of range");
  EXPECT_EQ(text(std::string(100'000, '[')), "c: expected at most 128 levels of nesting, got more");
  EXPECT_EQ(text(R"({"a": 1, "a": 2})"), "c: field 'a': expected the field once, got it twice");
  const testing::TemporaryDirectory folder;
  EXPECT_EQ(error_text(load_architecture(folder.path() / "config.json"), folder.path()),
            "DIR/config.json: there is no such file");
}

TEST(HfConfig, TheFingerprintChangesWithWhatIsComputedAndOnlyWithThat) {
  const std::string base_print = parse_with(json::object())->fingerprint();
  for (const json& same : std::vector<json>{{{"max_position_embeddings", 128}},
                                            {{"eos_token_id", 3}},
                                            {{"head_dim", 2}},
                                            {{"rope_theta", 1e4}}})
    EXPECT_EQ(parse_with(same)->fingerprint(), base_print) << same;
  for (const json& other : std::vector<json>{
           {{"num_hidden_layers", 3}},
           {{"num_key_value_heads", 4}},
           {{"head_dim", 4}},
           {{"rope_theta", 10000.001}},
           {{"rms_norm_eps", 1e-5}},
           {{"tie_word_embeddings", true}},
           {{"attention_bias", true}},
           {{"model_type", "qwen2"}, {"architectures", nullptr}},
           {{"rope_scaling",
             {{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}, {"high_freq_factor", 4}}}},
           {{"rope_scaling", {{"type", "linear"}, {"factor", 8}}}}})
    EXPECT_NE(parse_with(other)->fingerprint(), base_print) << other;
}

}  // namespace
}  // namespace strata
