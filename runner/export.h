// A plan in the formats of other systems, so that a selection leaves strata. Pure functions: text
// in, text out.
#pragma once

#include <string>
#include <string_view>

#include "core/plan.h"
#include "core/result.h"

namespace strata {

// A config.json for the same weights whose class in `transformers` honours layer_types and
// sliding_window: Llama and Mistral become Ministral, Qwen2, Qwen3, SmolLM3, gpt_oss and
// Gemma-3 stay.
// `source` names config_json in errors. kUnsupported where no class computes the plan: heads that
// differ within a layer, linear attention, sinks, several windows, decode rule `full`, Llama
// biases, and for Gemma-3 other sliding layers than its own (its rotary embedding follows the
// layer's type).
Result<std::string> export_hf(const AttentionPlan& plan, std::string_view config_json,
                              std::string_view source);

// The settings of SWAA (arXiv 2512.10411, an SWAAConfig): sliding_window_size, keep_first (sinks),
// force_fa_decode (decode rule `full`; a list where it holds in some of the windowed layers) and
// non_sliding_layers. kUnsupported where heads of a layer, windows or sinks differ, and for linear
// attention.
Result<std::string> export_swaa(const AttentionPlan& plan);

// DuoAttention's full_attention_heads.tsv: a line a layer, 1.0 or 0.0 for each KV head.
// kUnsupported where query heads of one KV head differ, and for linear attention.
Result<std::string> export_heads(const AttentionPlan& plan);

}  // namespace strata
