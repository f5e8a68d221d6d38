#include "runner/export.h"

#include <nlohmann/json.hpp>

#include "models/checkpoint/hf_config.h"
#include "models/checkpoint/json_fields.h"

namespace strata {
namespace {

tl::unexpected<Error> no_class(std::string what, std::string hint) {
  return fail(Error{ErrorKind::kUnsupported,
                    fmt::format("no class of transformers computes this plan: {}", what),
                    {},
                    std::move(hint)});
}

// A plan of whole layers, each full attention or the same window as the others.
struct LayerPlan {
  std::vector<std::int64_t> windows;   // a layer; 0 = full attention
  std::int64_t window = 0, sinks = 0;  // of the windowed layers
  std::vector<int> full_decode;        // windowed layers under decode rule `full`
};

// Errors: what is no such plan, in words that `refuse` completes.
template <typename Refuse>
Result<LayerPlan> layer_plan(const AttentionPlan& plan, Refuse&& refuse) {
  if (plan.granularity() != Granularity::kLayer)
    return refuse("heads of one layer differ", "select with granularity=layer");
  LayerPlan out;
  for (int layer = 0; layer < plan.layout().layers; ++layer) {
    const PaletteEntry& entry = plan.entry(layer, 0);
    if (const auto* linear = std::get_if<LinearAttention>(&entry.mixer))
      return refuse(fmt::format("layer {} is {} linear attention", layer, to_string(linear->kind)),
                    "its branch has weights of its own, which no other system's format holds");
    const auto* sliding = std::get_if<SlidingWindow>(&entry.mixer);
    out.windows.push_back(sliding == nullptr ? 0 : sliding->window);
    if (sliding == nullptr) continue;
    if (out.window != 0 && out.window != sliding->window)
      return refuse(fmt::format("windows of {} and {} tokens", out.window, sliding->window),
                    "the format has one window a model");
    if (out.window != 0 && out.sinks != sliding->sinks)
      return refuse(fmt::format("{} sinks in one layer, {} in another", out.sinks, sliding->sinks),
                    "the format has one number of sinks a model");
    out.window = sliding->window;
    out.sinks = sliding->sinks;
    if (entry.rule == DecodeRule::kFull) out.full_decode.push_back(layer);
  }
  return out;
}

// The family whose class computes the windows with the weights of `a`.
Result<ModelFamily> target_of(const Architecture& a, const std::vector<std::int64_t>& windows) {
  switch (a.family) {
    case ModelFamily::kLlama:
    case ModelFamily::kMinistral:
    case ModelFamily::kMistral:
      if (a.qkv_bias || a.o_bias)
        return no_class("Llama's attention biases have no place in Ministral", "");
      return ModelFamily::kMinistral;
    case ModelFamily::kGptOss:
    case ModelFamily::kQwen2:
    case ModelFamily::kQwen3:
    case ModelFamily::kSmolLM3: return a.family;
    case ModelFamily::kGemma3: break;
  }
  for (std::size_t i = 0; i < windows.size(); ++i)
    if ((windows[i] == 0) != (a.windows.empty() || a.windows[i] == 0))
      return no_class(fmt::format("layer {} changes between full and sliding attention, and a "
                                  "Gemma-3 layer would change its rotary embedding with it",
                                  i),
                      "");
  return a.family;
}

}  // namespace

Result<std::string> export_hf(const AttentionPlan& plan, std::string_view config_json,
                              std::string_view source) {
  ASSIGN_OR_RETURN(const Architecture a, parse_architecture(config_json, source));
  if (a.layout() != plan.layout())
    return fail(ErrorKind::kInvalidArgument,
                "the plan is for {} layers of {} query and {} KV heads, {} has {} of {} and {}",
                plan.layout().layers, plan.layout().query_heads, plan.layout().kv_heads, source,
                a.layers, a.query_heads, a.kv_heads);
  ASSIGN_OR_RETURN(const LayerPlan layers, layer_plan(plan, no_class));
  if (layers.sinks > 0)
    return no_class(fmt::format("windowed layers have {} sinks", layers.sinks),
                    "select with mixer.sinks=0");
  if (!layers.full_decode.empty())
    return no_class(fmt::format("layer {} decodes with full attention", layers.full_decode[0]),
                    "select with decode_rule=same");
  ASSIGN_OR_RETURN(const ModelFamily target, target_of(a, layers.windows));
  ASSIGN_OR_RETURN(nlohmann::json json, json_fields::parse_object(config_json));
  json["model_type"] = to_string(target);
  json["architectures"] = {architecture_name(target)};
  // Classes assume different sizes where these are absent.
  json["num_key_value_heads"] = a.kv_heads;
  json["head_dim"] = a.head_dim;
  json["tie_word_embeddings"] = a.tie_word_embeddings;
  nlohmann::json types = nlohmann::json::array();
  for (const std::int64_t here : layers.windows)
    types.push_back(here == 0 ? "full_attention" : "sliding_attention");
  json["layer_types"] = std::move(types);
  const std::int64_t window = layers.window;
  // Ministral's and gpt_oss's classes refuse to run without one, even where no layer slides.
  json["sliding_window"] = window > 0 ? window : a.max_positions;
  if (target == ModelFamily::kQwen2 || target == ModelFamily::kQwen3 ||
      target == ModelFamily::kSmolLM3)
    json["use_sliding_window"] = window > 0;
  return json.dump(2) + "\n";
}

Result<std::string> export_swaa(const AttentionPlan& plan) {
  const auto refuse = [](std::string what, std::string hint) {
    return fail(Error{ErrorKind::kUnsupported,
                      fmt::format("SWAA's settings cannot say this plan: {}", what),
                      {},
                      std::move(hint)});
  };
  ASSIGN_OR_RETURN(const LayerPlan layers, layer_plan(plan, refuse));
  nlohmann::ordered_json json;
  json["sliding_window_size"] = nullptr;
  if (layers.window > 0) json["sliding_window_size"] = layers.window;
  json["keep_first"] = layers.sinks;
  std::vector<int> full;
  for (std::size_t layer = 0; layer < layers.windows.size(); ++layer)
    if (layers.windows[layer] == 0) full.push_back(static_cast<int>(layer));
  const bool all = layers.full_decode.size() + full.size() == layers.windows.size();
  json["force_fa_decode"] = !layers.full_decode.empty();
  if (!layers.full_decode.empty() && !all) json["force_fa_decode"] = layers.full_decode;
  json["non_sliding_layers"] = full;
  return json.dump(2) + "\n";
}

Result<std::string> export_heads(const AttentionPlan& plan) {
  const HeadLayout& layout = plan.layout();
  const int group = layout.query_heads / layout.kv_heads;
  std::string out;
  for (int layer = 0; layer < layout.layers; ++layer) {
    for (int kv_head = 0; kv_head < layout.kv_heads; ++kv_head) {
      for (int i = 0; i < group; ++i)
        if (const auto* linear =
                std::get_if<LinearAttention>(&plan.entry(layer, kv_head * group + i).mixer))
          return fail(make_error(ErrorKind::kUnsupported,
                                 "layer {}, KV head {}: {} linear attention, and the format knows "
                                 "full and streaming attention only",
                                 layer, kv_head, to_string(linear->kind))
                          .with_hint("select with mixer=sliding_window"));
      const auto is_full = [&](int query_head) {
        return std::holds_alternative<FullAttention>(plan.entry(layer, query_head).mixer);
      };
      const bool full = is_full(kv_head * group);
      for (int i = 1; i < group; ++i)
        if (is_full(kv_head * group + i) != full)
          return fail(make_error(ErrorKind::kUnsupported,
                                 "layer {}, KV head {}: its query heads differ, and the format "
                                 "knows KV heads only",
                                 layer, kv_head)
                          .with_hint("select with granularity=kv_head"));
      out += fmt::format("{}{}", kv_head == 0 ? "" : "\t", full ? "1.0" : "0.0");
    }
    out += '\n';
  }
  return out;
}

}  // namespace strata
