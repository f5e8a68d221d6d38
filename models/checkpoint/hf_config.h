// Architecture: what a Hugging Face config.json says about a decoder of the Llama kind, as plain
// values.
//
// Fields that change the computation are either here or, where strata cannot compute them, an
// error; only fields that do not matter for inference are skipped. Absent fields take the defaults
// of `transformers`; sizes have none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/mask.h"
#include "core/plan.h"
#include "core/result.h"
#include "core/tokens.h"

namespace strata {

enum class ModelFamily { kGemma3, kGptOss, kLlama, kMinistral, kMistral, kQwen2, kQwen3, kSmolLM3 };
std::string_view to_string(ModelFamily family);          // model_type: "llama", "gemma3_text"
std::string_view architecture_name(ModelFamily family);  // "LlamaForCausalLM"

enum class Activation { kSilu, kGeluTanh };

// How a layer tells positions apart. A property of its weights: it stays whatever the plan gives
// the layer. kLocal: by local_rope_theta; kNone: not at all (NoPE).
enum class LayerRope { kGlobal, kLocal, kNone };

// How the rotary frequencies are stretched. Linear: all of them by one factor.
struct LinearRopeScaling {
  double factor = 1.0;
  bool operator==(const LinearRopeScaling&) const = default;
};

// Llama 3: long wavelengths only.
struct Llama3RopeScaling {
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  std::int64_t original_max_positions = 0;  // tokens
  bool operator==(const Llama3RopeScaling&) const = default;
};

// YaRN: frequencies that turn more than beta_fast times within the original context are kept, those
// below beta_slow stretched, those between interpolated.
struct YarnRopeScaling {
  double factor = 1.0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  std::int64_t original_max_positions = 0;  // tokens
  bool truncate = true;                     // interpolate between whole dimensions
  double attention_factor = 1.0;            // of cosines and sines
  bool operator==(const YarnRopeScaling&) const = default;
};

using RopeScaling = std::variant<LinearRopeScaling, Llama3RopeScaling, YarnRopeScaling>;

// In place of the MLP: each token runs through `per_token` of `count` MLPs of size `intermediate`.
struct ExpertMixture {
  std::int64_t count = 0;
  std::int64_t per_token = 0;
  double gate_slope = 1.702;  // gate · sigmoid(gate_slope · gate)
  double limit = 7.0;         // gates are cut off above it, what they multiply on both sides
  bool operator==(const ExpertMixture&) const = default;
};

struct Architecture {
  ModelFamily family = ModelFamily::kLlama;
  int layers = 0;
  int query_heads = 0;
  int kv_heads = 0;
  std::int64_t hidden = 0;
  std::int64_t head_dim = 0;
  std::int64_t intermediate = 0;
  std::int64_t vocabulary = 0;
  std::int64_t max_positions = 0;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling;
  double rms_norm_eps = 1e-6;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;  // Qwen2 always; else attention_bias
  bool o_bias = false;    // attention_bias (Qwen2 never)
  bool qk_norm = false;   // Qwen3, Gemma-3: RMSNorm over each query and key head

  std::vector<LayerRope> ropes;  // a layer; empty = kGlobal everywhere
  double local_rope_theta = 0;   // where a layer is kLocal; never stretched
  Activation activation = Activation::kSilu;
  // Gemma-3: norms behind attention and MLP too, RMSNorm scales by 1 + weight, embeddings by
  // √hidden, queries by 1 / √query_scalar (others: by 1 / √head_dim).
  bool sandwich_norms = false;
  bool norm_adds_one = false;
  bool scaled_embedding = false;
  std::optional<double> query_scalar;

  // gpt_oss. Sink logits are weights: a logit a query head that takes part in each softmax of the
  // head and has no value, under any plan. They are not the plan's sinks, which are tokens.
  bool sink_logits = false;
  std::optional<ExpertMixture> experts;

  // The sliding windows (tokens, own token included) that the checkpoint was trained with, a layer;
  // 0 = full attention; empty = full everywhere. They make native_plan() and nothing else: any plan
  // may be run, so they are no part of fingerprint().
  std::vector<std::int64_t> windows;

  // Token ids do not change the computation and are no part of fingerprint().
  std::optional<TokenId> bos_token;
  std::vector<TokenId> eos_tokens;

  HeadLayout layout() const { return {layers, query_heads, kv_heads}; }
  LayerRope rope(int layer) const {
    return ropes.empty() ? LayerRope::kGlobal : ropes[static_cast<std::size_t>(layer)];
  }
  double rotary_gain() const;  // of cosines and sines of global rotary embedding
  // The hybrid that the checkpoint is by its own config: no sinks, decode rule `same`.
  AttentionPlan native_plan() const;
  // One line for each field that changes the computation; part of the ModelId. Numbers print
  // exactly.
  std::string fingerprint() const;
  bool operator==(const Architecture&) const = default;
};

// For gpt_oss checkpoints as they are published, in mxfp4.
inline constexpr std::string_view kDequantiseHint =
    "dequantise it first: transformers loads it with Mxfp4Config(dequantize=True), and "
    "save_pretrained writes what strata reads";

// `source` names the text in errors. Errors: kInvalidFile (field, expected, got), kUnsupported.
Result<Architecture> parse_architecture(std::string_view config_json, std::string_view source);
Result<Architecture> load_architecture(const std::filesystem::path& config_file);

}  // namespace strata
