#include "models/checkpoint/hf_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "models/checkpoint/json_fields.h"

namespace strata {
namespace {

using json_fields::Fields;

constexpr std::uint64_t kMaxConfigBytes = 16u << 20;
constexpr std::int64_t kMaxSize = 100'000'000;  // of any one size: products of two fit 64 bits
constexpr std::int64_t kMaxLayers = 10'000;
constexpr double kMaxTheta = 1e12;
constexpr std::string_view kHybrid = "hybrid checkpoints are not read yet";

struct FamilyRow {
  ModelFamily family;
  std::string_view model_type;
  std::string_view architecture;
};
constexpr std::array<FamilyRow, 3> kFamilies{{
    {ModelFamily::kLlama, "llama", "LlamaForCausalLM"},
    {ModelFamily::kQwen2, "qwen2", "Qwen2ForCausalLM"},
    {ModelFamily::kQwen3, "qwen3", "Qwen3ForCausalLM"},
}};

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

// Fields that change what a model computes, and the one value with which they do not.
Status refuse_unsupported(const Fields& fields) {
  struct Neutral {
    const char* name;
    nlohmann::json value;
  };
  const std::array<Neutral, 24> neutral{{
      {"hidden_act", "silu"},
      {"pretraining_tp", 1},
      {"rope_interleaved", false},
      {"partial_rotary_factor", 1},
      {"rotary_pct", 1},
      {"mlp_bias", false},
      {"quantization_config", nullptr},
      {"compression_config", nullptr},
      {"per_layer_config", nullptr},
      {"no_rope_layers", nullptr},
      {"no_rope_layer_interval", nullptr},
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
  }};
  for (const auto& [name, value] : neutral)
    if (fields.has_value(name) && fields.at(name) != value)
      return fields.unsupported(name, json_fields::describe(value));
  return {};
}

Status refuse_hybrids(const Fields& fields, int layers) {
  const auto refuse = [&](const char* name, std::string_view expected) {
    auto error = fields.unsupported(name, expected).value();
    return fail(std::move(error).with_hint(std::string(kHybrid)));
  };
  ASSIGN_OR_RETURN(const bool sliding, fields.boolean_or("use_sliding_window", false));
  if (sliding) return refuse("use_sliding_window", "false");
  if (!fields.has_value("layer_types")) return {};
  const auto& types = fields.at("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(layers))
    return fields.error("layer_types", fmt::format("an array of {} (num_hidden_layers)", layers));
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] == "full_attention") continue;
    return fail(make_error(ErrorKind::kUnsupported,
                           "field 'layer_types[{}]': expected \"full_attention\", got {}", i,
                           json_fields::describe(types[i]))
                    .with_hint(std::string(kHybrid)));
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

  // Where the field is absent, Qwen's classes say 32 and Llama's, like null everywhere, "as many as
  // query heads".
  std::int64_t kv_heads = heads;
  if (fields.has_value("num_key_value_heads")) {
    ASSIGN_OR_RETURN(kv_heads, fields.integer("num_key_value_heads", 1, kMaxSize));
  } else if (!fields.has("num_key_value_heads") && a.family != ModelFamily::kLlama) {
    kv_heads = 32;
  }
  if (heads % kv_heads != 0)
    return fields.error("num_key_value_heads",
                        fmt::format("a divisor of num_attention_heads, {}", heads));
  a.kv_heads = static_cast<int>(kv_heads);

  if (fields.has_value("head_dim")) {
    ASSIGN_OR_RETURN(a.head_dim, fields.integer("head_dim", 1, kMaxSize));
  } else if (a.family == ModelFamily::kQwen3 && !fields.has("head_dim")) {
    a.head_dim = 128;
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

Status check_rope_fields(const Fields& rope) {
  constexpr std::array<std::string_view, 8> kKnown{"rope_type",
                                                   "type",
                                                   "rope_theta",
                                                   "factor",
                                                   "low_freq_factor",
                                                   "high_freq_factor",
                                                   "original_max_position_embeddings",
                                                   "partial_rotary_factor"};
  for (const auto& [name, value] : rope.object().items())
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end())
      return rope.unsupported(name.c_str(), "no such field");
  if (rope.has_value("partial_rotary_factor") && rope.at("partial_rotary_factor") != 1)
    return rope.unsupported("partial_rotary_factor", "1");
  return {};
}

// Older files say rope_theta and rope_scaling, newer ones rope_parameters, which holds both.
Status read_rope(const Fields& fields, Architecture& a) {
  ASSIGN_OR_RETURN(a.rope_theta, fields.number_or("rope_theta", 10000.0, 1.0, kMaxTheta));
  const auto given = [&](const char* name) {
    return fields.has_value(name) && !fields.at(name).empty();
  };
  if (given("rope_scaling") && given("rope_parameters"))
    return fields.error("rope_scaling", "nothing beside rope_parameters");
  const char* name = given("rope_scaling") ? "rope_scaling" : "rope_parameters";
  if (!given(name)) return {};
  if (!fields.at(name).is_object()) return fields.error(name, "an object");
  const Fields rope(fields.at(name), std::string(name) + ".");
  RETURN_IF_ERROR(check_rope_fields(rope));
  ASSIGN_OR_RETURN(a.rope_theta, rope.number_or("rope_theta", a.rope_theta, 1.0, kMaxTheta));
  const char* type_field = rope.has("rope_type") ? "rope_type" : "type";
  ASSIGN_OR_RETURN(const std::string type, rope.string_or(type_field, "default"));
  if (type == "default") return {};
  if (type != "llama3") return rope.unsupported(type_field, "\"default\" or \"llama3\"");
  if (fields.has_value("original_max_position_embeddings"))
    return fields.unsupported("original_max_position_embeddings",
                              fmt::format("it inside {}", name));
  Llama3RopeScaling scaling;
  scaling.original_max_positions = a.max_positions;
  ASSIGN_OR_RETURN(scaling.factor, rope.number("factor", 1.0, 1e6));
  ASSIGN_OR_RETURN(scaling.low_freq_factor, rope.number("low_freq_factor", 1e-6, 1e6));
  ASSIGN_OR_RETURN(scaling.high_freq_factor, rope.number("high_freq_factor", 1e-6, 1e6));
  if (scaling.high_freq_factor <= scaling.low_freq_factor)
    return rope.error("high_freq_factor", "more than low_freq_factor");
  if (rope.has_value("original_max_position_embeddings")) {
    ASSIGN_OR_RETURN(scaling.original_max_positions,
                     rope.integer("original_max_position_embeddings", 1, kMaxSize));
  }
  a.rope_scaling = scaling;
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

Result<Architecture> read_architecture(const Fields& fields) {
  Architecture a;
  ASSIGN_OR_RETURN(a.family, read_family(fields));
  RETURN_IF_ERROR(refuse_unsupported(fields));
  RETURN_IF_ERROR(read_sizes(fields, a));
  RETURN_IF_ERROR(refuse_hybrids(fields, a.layers));
  RETURN_IF_ERROR(read_rope(fields, a));
  ASSIGN_OR_RETURN(a.rms_norm_eps, fields.number_or("rms_norm_eps", 1e-6, 0.0, 1.0));
  ASSIGN_OR_RETURN(a.tie_word_embeddings, fields.boolean_or("tie_word_embeddings", false));
  ASSIGN_OR_RETURN(const bool attention_bias, fields.boolean_or("attention_bias", false));
  a.qkv_bias = a.family == ModelFamily::kQwen2 || attention_bias;
  a.o_bias = a.family != ModelFamily::kQwen2 && attention_bias;
  a.qk_norm = a.family == ModelFamily::kQwen3;
  ASSIGN_OR_RETURN(const auto bos, read_tokens(fields, "bos_token_id", a.vocabulary));
  if (bos.size() > 1) return fields.error("bos_token_id", "one token id");
  if (!bos.empty()) a.bos_token = bos[0];
  ASSIGN_OR_RETURN(a.eos_tokens, read_tokens(fields, "eos_token_id", a.vocabulary));
  return a;
}

}  // namespace

std::string_view to_string(ModelFamily family) {
  for (const FamilyRow& row : kFamilies)
    if (row.family == family) return row.model_type;
  return "?";
}

std::string Architecture::fingerprint() const {
  std::string out = fmt::format(
      "family={}\nlayers={}\nquery_heads={}\nkv_heads={}\nhidden={}\nhead_dim={}\nintermediate={}\n"
      "vocabulary={}\nrope_theta={}\nrms_norm_eps={}\ntie_word_embeddings={}\nqkv_bias={}\no_bias={"
      "}\nqk_norm={}\n",
      to_string(family), layers, query_heads, kv_heads, hidden, head_dim, intermediate, vocabulary,
      rope_theta, rms_norm_eps, tie_word_embeddings, qkv_bias, o_bias, qk_norm);
  if (rope_scaling)
    out += fmt::format("rope_scaling=llama3 {} {} {} {}\n", rope_scaling->factor,
                       rope_scaling->low_freq_factor, rope_scaling->high_freq_factor,
                       rope_scaling->original_max_positions);
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
