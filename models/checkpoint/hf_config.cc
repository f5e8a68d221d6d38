#include "models/checkpoint/hf_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "models/checkpoint/hf_layers.h"
#include "models/checkpoint/json_fields.h"

namespace strata {
namespace {

using json_fields::Fields;

constexpr std::uint64_t kMaxConfigBytes = 16u << 20;
constexpr std::int64_t kMaxSize = 100'000'000;  // of any one size: products of two fit 64 bits
constexpr std::int64_t kMaxLayers = 10'000;
constexpr std::int64_t kMaxExperts = 100'000;

// What a family is called, and what its class in `transformers` assumes where a field is absent.
struct FamilyRow {
  ModelFamily family;
  std::string_view model_type;
  std::string_view architecture;
  std::int64_t kv_heads = 0;  // 0 = as many as query heads
  std::int64_t head_dim = 0;  // 0 = hidden_size / num_attention_heads
  bool tied = false;
};
constexpr std::array<FamilyRow, 8> kFamilies{{
    {ModelFamily::kGemma3, "gemma3_text", "Gemma3ForCausalLM", 4, 256, true},
    {ModelFamily::kGptOss, "gpt_oss", "GptOssForCausalLM", 8, 64},
    {ModelFamily::kLlama, "llama", "LlamaForCausalLM"},
    {ModelFamily::kMinistral, "ministral", "MinistralForCausalLM", 8},
    {ModelFamily::kMistral, "mistral", "MistralForCausalLM", 8},
    {ModelFamily::kQwen2, "qwen2", "Qwen2ForCausalLM", 32},
    {ModelFamily::kQwen3, "qwen3", "Qwen3ForCausalLM", 32, 128},
    {ModelFamily::kSmolLM3, "smollm3", "SmolLM3ForCausalLM", 4, 0, true},
}};

const FamilyRow& row_of(ModelFamily family) {
  return *std::find_if(kFamilies.begin(), kFamilies.end(),
                       [&](const FamilyRow& row) { return row.family == family; });
}

std::string known(std::string_view FamilyRow::*column) {
  std::string out = "one of";
  for (const FamilyRow& row : kFamilies)
    out += fmt::format("{} {}", &row == &kFamilies[0] ? "" : ",", row.*column);
  return out;
}

const FamilyRow* find_family(std::string_view FamilyRow::*column, const nlohmann::json& value) {
  if (!value.is_string()) return nullptr;
  for (const FamilyRow& row : kFamilies)
    if (row.*column == value.get_ref<const std::string&>()) return &row;
  return nullptr;
}

Result<ModelFamily> read_family(const Fields& fields) {
  const FamilyRow* by_type = nullptr;
  if (fields.has_value("model_type")) {
    by_type = find_family(&FamilyRow::model_type, fields.at("model_type"));
    if (by_type == nullptr) return fields.unsupported("model_type", known(&FamilyRow::model_type));
  }
  if (!fields.has_value("architectures")) {
    if (by_type == nullptr) return fields.error("model_type", known(&FamilyRow::model_type));
    return by_type->family;
  }
  const auto& list = fields.at("architectures");
  if (!list.is_array() || list.size() != 1)
    return fields.error("architectures", "an array of one name");
  const FamilyRow* by_name = find_family(&FamilyRow::architecture, list[0]);
  if (by_name == nullptr)
    return fail(ErrorKind::kUnsupported, "field 'architectures': expected {}, got {}",
                known(&FamilyRow::architecture), json_fields::describe(list[0]));
  if (by_type != nullptr && by_type != by_name)
    return fail(ErrorKind::kInvalidFile,
                "field 'architectures': expected \"{}\" for model_type \"{}\", got {}",
                by_type->architecture, by_type->model_type, json_fields::describe(list[0]));
  return by_name->family;
}

bool has_experts(ModelFamily family) { return family == ModelFamily::kGptOss; }

// Fields that change what a model computes, and the one value with which they do not.
Status refuse_unsupported(const Fields& fields, ModelFamily family) {
  struct Neutral {
    const char* name;
    nlohmann::json value;
  };
  const bool gemma = family == ModelFamily::kGemma3;
  const std::array<Neutral, 23> neutral{{
      {gemma ? "hidden_activation" : "hidden_act", gemma ? "gelu_pytorch_tanh" : "silu"},
      {"pretraining_tp", 1},
      {"rope_interleaved", false},
      {"partial_rotary_factor", 1},
      {"rotary_pct", 1},
      {"mlp_bias", false},
      {"quantization_config", nullptr},
      {"compression_config", nullptr},
      {"per_layer_config", nullptr},
      {"attention_multiplier", nullptr},
      {"embedding_multiplier", 1},
      {"residual_multiplier", 1},
      {"logits_scaling", 1},
      {"attn_logit_softcapping", nullptr},
      {"final_logit_softcapping", nullptr},
      {"clip_qkv", nullptr},
      {"qk_layernorm", false},
      {"use_qk_norm", false},
      {"use_bidirectional_attention", false},
      {"attention_chunk_size", nullptr},
      {"num_experts", nullptr},
      {"num_local_experts", nullptr},
      {"moe_intermediate_size", nullptr},
  }};
  for (const auto& [name, value] : neutral) {
    if (!fields.has_value(name) || fields.at(name) == value) continue;
    const std::string_view field = name;
    if (field == "num_local_experts" && has_experts(family)) continue;
    Error error = fields.unsupported(name, json_fields::describe(value)).value();
    if (field == "quantization_config" && family == ModelFamily::kGptOss)
      return fail(std::move(error).with_hint(std::string(kDequantiseHint)));
    return fail(std::move(error));
  }
  return {};
}

Status read_sizes(const Fields& fields, Architecture& a) {
  ASSIGN_OR_RETURN(const auto layers, fields.integer("num_hidden_layers", 1, kMaxLayers));
  ASSIGN_OR_RETURN(const auto heads, fields.integer("num_attention_heads", 1, kMaxSize));
  ASSIGN_OR_RETURN(a.hidden, fields.integer("hidden_size", 1, kMaxSize));
  ASSIGN_OR_RETURN(a.intermediate, fields.integer("intermediate_size", 1, kMaxSize));
  ASSIGN_OR_RETURN(a.vocabulary, fields.integer("vocab_size", 1, kMaxSize));
  ASSIGN_OR_RETURN(a.max_positions, fields.integer("max_position_embeddings", 1, kMaxSize));
  a.layers = static_cast<int>(layers);
  a.query_heads = static_cast<int>(heads);

  // Null means "as many as query heads" everywhere.
  const FamilyRow& family = row_of(a.family);
  std::int64_t kv_heads = heads;
  if (fields.has_value("num_key_value_heads")) {
    ASSIGN_OR_RETURN(kv_heads, fields.integer("num_key_value_heads", 1, kMaxSize));
  } else if (!fields.has("num_key_value_heads") && family.kv_heads != 0) {
    kv_heads = family.kv_heads;
  }
  if (heads % kv_heads != 0)
    return fields.error("num_key_value_heads",
                        fmt::format("a divisor of num_attention_heads, {}", heads));
  a.kv_heads = static_cast<int>(kv_heads);

  if (fields.has_value("head_dim")) {
    ASSIGN_OR_RETURN(a.head_dim, fields.integer("head_dim", 1, kMaxSize));
  } else if (family.head_dim != 0 && !fields.has("head_dim")) {
    a.head_dim = family.head_dim;
  } else if (a.hidden % heads == 0) {
    a.head_dim = a.hidden / heads;
  } else {
    return fields.error("hidden_size",
                        fmt::format("a multiple of num_attention_heads, {}, where head_dim is "
                                    "not given",
                                    heads));
  }
  if (a.head_dim % 2 != 0)
    return fail(ErrorKind::kUnsupported,
                "field 'head_dim': expected an even number (rotary embedding turns pairs), got {}",
                a.head_dim);
  return {};
}

Result<std::vector<TokenId>> read_tokens(const Fields& fields, const char* name,
                                         std::int64_t vocabulary) {
  std::vector<TokenId> out;
  if (!fields.has_value(name)) return out;
  const auto& json = fields.at(name);
  const nlohmann::json list = json.is_array() ? json : nlohmann::json::array({json});
  for (const auto& token : list) {
    // Some files name −1 for "none".
    if (token == -1) continue;
    if (!token.is_number_integer() || token < 0 || token >= vocabulary)
      return fields.error(name, fmt::format("token ids below vocab_size, {}", vocabulary));
    out.push_back(token.get<TokenId>());
  }
  return out;
}

// Qwen2 and the Mistral classes have no field for it; gpt_oss has biases unless it says otherwise.
Status read_biases(const Fields& fields, Architecture& a) {
  ASSIGN_OR_RETURN(const bool attention_bias,
                   fields.boolean_or("attention_bias", a.family == ModelFamily::kGptOss));
  switch (a.family) {
    case ModelFamily::kQwen2: a.qkv_bias = true; break;
    case ModelFamily::kMinistral:
    case ModelFamily::kMistral: break;
    default: a.qkv_bias = a.o_bias = attention_bias;
  }
  return {};
}

Status read_gemma(const Fields& fields, Architecture& a) {
  a.activation = Activation::kGeluTanh;
  a.sandwich_norms = a.norm_adds_one = a.scaled_embedding = true;
  ASSIGN_OR_RETURN(a.query_scalar, fields.number_or("query_pre_attn_scalar", 256, 1e-6, 1e9));
  return {};
}

Status read_experts(const Fields& fields, Architecture& a) {
  ExpertMixture experts;
  ASSIGN_OR_RETURN(experts.count, fields.integer("num_local_experts", 1, kMaxExperts));
  ASSIGN_OR_RETURN(experts.per_token, fields.integer("num_experts_per_tok", 1, experts.count));
  ASSIGN_OR_RETURN(experts.gate_slope,
                   fields.number_or("swiglu_alpha", experts.gate_slope, 0.0, 1e6));
  ASSIGN_OR_RETURN(experts.limit, fields.number_or("swiglu_limit", experts.limit, 1e-6, 1e9));
  a.experts = experts;
  return {};
}

Result<Architecture> read_architecture(const Fields& fields) {
  Architecture a;
  ASSIGN_OR_RETURN(a.family, read_family(fields));
  RETURN_IF_ERROR(refuse_unsupported(fields, a.family));
  RETURN_IF_ERROR(read_sizes(fields, a));
  RETURN_IF_ERROR(hf_layers::read_layers(fields, a));
  ASSIGN_OR_RETURN(
      a.rms_norm_eps,
      fields.number_or("rms_norm_eps", a.family == ModelFamily::kGptOss ? 1e-5 : 1e-6, 0.0, 1.0));
  ASSIGN_OR_RETURN(a.tie_word_embeddings,
                   fields.boolean_or("tie_word_embeddings", row_of(a.family).tied));
  RETURN_IF_ERROR(read_biases(fields, a));
  a.qk_norm = a.family == ModelFamily::kQwen3 || a.family == ModelFamily::kGemma3;
  if (a.family == ModelFamily::kGemma3) RETURN_IF_ERROR(read_gemma(fields, a));
  a.sink_logits = a.family == ModelFamily::kGptOss;
  if (has_experts(a.family)) RETURN_IF_ERROR(read_experts(fields, a));
  ASSIGN_OR_RETURN(const auto bos, read_tokens(fields, "bos_token_id", a.vocabulary));
  if (bos.size() > 1) return fields.error("bos_token_id", "one token id");
  if (!bos.empty()) a.bos_token = bos[0];
  ASSIGN_OR_RETURN(a.eos_tokens, read_tokens(fields, "eos_token_id", a.vocabulary));
  return a;
}

std::string fingerprint_of(const LinearRopeScaling& scaling) {
  return fmt::format("linear {}", scaling.factor);
}

std::string fingerprint_of(const Llama3RopeScaling& scaling) {
  return fmt::format("llama3 {} {} {} {}", scaling.factor, scaling.low_freq_factor,
                     scaling.high_freq_factor, scaling.original_max_positions);
}

std::string fingerprint_of(const YarnRopeScaling& scaling) {
  return fmt::format("yarn {} {} {} {} {} {}", scaling.factor, scaling.beta_fast, scaling.beta_slow,
                     scaling.original_max_positions, scaling.truncate, scaling.attention_factor);
}

}  // namespace

std::string_view to_string(ModelFamily family) { return row_of(family).model_type; }

std::string_view architecture_name(ModelFamily family) { return row_of(family).architecture; }

double Architecture::rotary_gain() const {
  const auto* yarn = rope_scaling ? std::get_if<YarnRopeScaling>(&*rope_scaling) : nullptr;
  return yarn == nullptr ? 1.0 : yarn->attention_factor;
}

AttentionPlan Architecture::native_plan() const {
  if (windows.empty()) return AttentionPlan::full(layout());
  std::vector<PaletteEntry> palette{{FullAttention{}, DecodeRule::kSame}};
  std::vector<int> cells;
  for (const std::int64_t window : windows) {
    const PaletteEntry entry =
        window == 0 ? palette[0] : PaletteEntry{SlidingWindow{window, 0}, DecodeRule::kSame};
    const auto known = std::find(palette.begin(), palette.end(), entry);
    cells.push_back(static_cast<int>(known - palette.begin()));
    if (known == palette.end()) palette.push_back(entry);
  }
  // Cannot fail: windows are at least 1.
  return AttentionPlan::from_cells(Granularity::kLayer, layout(), std::move(palette),
                                   std::move(cells))
      .value();
}

std::string Architecture::fingerprint() const {
  std::string out = fmt::format(
      "family={}\nlayers={}\nquery_heads={}\nkv_heads={}\nhidden={}\nhead_dim={}\nintermediate={}\n"
      "vocabulary={}\nrope_theta={}\nrms_norm_eps={}\ntie_word_embeddings={}\nqkv_bias={}\no_bias={"
      "}\nqk_norm={}\n",
      to_string(family), layers, query_heads, kv_heads, hidden, head_dim, intermediate, vocabulary,
      rope_theta, rms_norm_eps, tie_word_embeddings, qkv_bias, o_bias, qk_norm);
  if (rope_scaling)
    out += fmt::format("rope_scaling={}\n",
                       std::visit([](const auto& s) { return fingerprint_of(s); }, *rope_scaling));
  // Further fields only where they are not the usual, so that the ids of other models stay.
  if (!ropes.empty()) {
    out += "ropes=";
    for (const LayerRope rope : ropes) out += fmt::format("{}", static_cast<int>(rope));
    out += fmt::format("\nlocal_rope_theta={}\n", local_rope_theta);
  }
  if (activation == Activation::kGeluTanh) out += "activation=gelu_tanh\n";
  if (sandwich_norms) out += "sandwich_norms=true\n";
  if (norm_adds_one) out += "norm_adds_one=true\n";
  if (scaled_embedding) out += "scaled_embedding=true\n";
  if (sink_logits) out += "sink_logits=true\n";
  if (experts)
    out += fmt::format("experts={} {} {} {}\n", experts->count, experts->per_token,
                       experts->gate_slope, experts->limit);
  if (query_scalar) out += fmt::format("query_scalar={}\n", *query_scalar);
  return out;
}

Result<Architecture> parse_architecture(std::string_view config_json, std::string_view source) {
  const auto parse = [&]() -> Result<Architecture> {
    ASSIGN_OR_RETURN(const nlohmann::json json, json_fields::parse_object(config_json));
    return read_architecture(Fields(json));
  };
  auto architecture = parse();
  if (!architecture) return fail(std::move(architecture).error().at(std::string(source)));
  return architecture;
}

Result<Architecture> load_architecture(const std::filesystem::path& config_file) {
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(config_file, kMaxConfigBytes));
  return parse_architecture(text, config_file.string());
}

}  // namespace strata
