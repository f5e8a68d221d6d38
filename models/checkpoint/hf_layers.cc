#include "models/checkpoint/hf_layers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

namespace strata::hf_layers {
namespace {

using json_fields::Fields;

constexpr std::int64_t kMaxWindow = 100'000'000;  // tokens
constexpr std::int64_t kMaxPositions = 100'000'000;
constexpr double kMaxTheta = 1e12;
constexpr double kMaxFactor = 1e6;

// Whether the classes of a family slide layers at all, and which where layer_types is absent. Read
// while the architecture lives.
struct Sliding {
  std::optional<std::int64_t> window;  // none: no layer slides
  std::function<bool(int layer)> by_default = [](int) { return false; };
};

Result<std::optional<std::int64_t>> read_window(const Fields& fields) {
  if (!fields.has("sliding_window"))
    return std::optional<std::int64_t>(4096);  // what all classes assume
  if (!fields.has_value("sliding_window")) return std::optional<std::int64_t>();
  ASSIGN_OR_RETURN(const std::int64_t window, fields.integer("sliding_window", 1, kMaxWindow));
  return std::optional<std::int64_t>(window);
}

// Where a list of NoPE layers is absent, every no_rope_layer_interval-th has no rotary embedding.
Result<std::vector<LayerRope>> read_nope_layers(const Fields& fields, int layers) {
  std::vector<LayerRope> out(static_cast<std::size_t>(layers), LayerRope::kGlobal);
  if (fields.has_value("no_rope_layers")) {
    const auto& list = fields.at("no_rope_layers");
    if (!list.is_array() || list.size() < out.size())
      return fields.error("no_rope_layers",
                          fmt::format("an array of {} (num_hidden_layers)", layers));
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (list[i] != 0 && list[i] != 1)
        return fields.error("no_rope_layers", "an array of 1 (rotary embedding) and 0 (none)");
      if (list[i] == 0) out[i] = LayerRope::kNone;
    }
    return out;
  }
  std::int64_t interval = 4;
  if (fields.has_value("no_rope_layer_interval")) {
    ASSIGN_OR_RETURN(interval, fields.integer("no_rope_layer_interval", 1, layers + 1));
  }
  for (std::size_t i = 0; i < out.size(); ++i)
    if ((static_cast<std::int64_t>(i) + 1) % interval == 0) out[i] = LayerRope::kNone;
  return out;
}

Result<Sliding> sliding_of(const Fields& fields, const Architecture& a) {
  Sliding sliding;
  ASSIGN_OR_RETURN(const bool used, fields.boolean_or("use_sliding_window", false));
  switch (a.family) {
    case ModelFamily::kLlama:
      if (used)
        return fail(fields.unsupported("use_sliding_window", "false")
                        .value()
                        .with_hint("the Llama class ignores it; model_type ministral slides"));
      return sliding;
    case ModelFamily::kMistral:
    case ModelFamily::kMinistral: {
      ASSIGN_OR_RETURN(sliding.window, read_window(fields));
      sliding.by_default = [](int) { return true; };
      return sliding;
    }
    case ModelFamily::kGemma3: {
      ASSIGN_OR_RETURN(sliding.window, read_window(fields));
      std::int64_t pattern = 6;
      if (fields.has_value("sliding_window_pattern")) {
        ASSIGN_OR_RETURN(pattern, fields.integer("sliding_window_pattern", 1, 1'000'000));
      }
      sliding.by_default = [pattern](int layer) { return (layer + 1) % pattern != 0; };
      return sliding;
    }
    case ModelFamily::kGptOss: {
      sliding.window = 128;
      if (fields.has("sliding_window")) {  // the class cannot do without one
        ASSIGN_OR_RETURN(sliding.window, fields.integer("sliding_window", 1, kMaxWindow));
      }
      sliding.by_default = [](int layer) { return layer % 2 == 0; };
      return sliding;
    }
    case ModelFamily::kQwen2:
    case ModelFamily::kQwen3: {
      if (!used) return sliding;
      ASSIGN_OR_RETURN(sliding.window, read_window(fields));
      std::int64_t first = 28;
      if (fields.has_value("max_window_layers")) {
        ASSIGN_OR_RETURN(first, fields.integer("max_window_layers", 0, 1'000'000));
      }
      sliding.by_default = [first](int layer) { return layer >= first; };
      return sliding;
    }
    case ModelFamily::kSmolLM3: {
      if (!used) return sliding;
      if (fields.has_value("sliding_window")) {  // absent means none here
        ASSIGN_OR_RETURN(sliding.window, read_window(fields));
      }
      sliding.by_default = [&a](int layer) { return a.rope(layer) == LayerRope::kNone; };
      return sliding;
    }
  }
  return sliding;
}

// The layers that slide, by layer_types or by the family's default.
Result<std::vector<bool>> sliding_layers(const Fields& fields, int layers, const Sliding& sliding) {
  std::vector<bool> out;
  if (!fields.has_value("layer_types")) {
    for (int layer = 0; layer < layers; ++layer)
      out.push_back(sliding.window.has_value() && sliding.by_default(layer));
    return out;
  }
  const auto& types = fields.at("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(layers))
    return fields.error("layer_types", fmt::format("an array of {} (num_hidden_layers)", layers));
  for (std::size_t i = 0; i < types.size(); ++i) {
    const bool slides = types[i] == "sliding_attention";
    if (slides && !sliding.window)
      return fail(make_error(ErrorKind::kInvalidFile,
                             "field 'layer_types[{}]': expected \"full_attention\", since no "
                             "sliding window is in use here, got \"sliding_attention\"",
                             i)
                      .with_hint("a Llama's layer_types are ignored by its class: model_type "
                                 "ministral honours them; Qwen needs use_sliding_window"));
    if (!slides && types[i] != "full_attention")
      return fail(ErrorKind::kUnsupported,
                  "field 'layer_types[{}]': expected \"full_attention\" or "
                  "\"sliding_attention\", got {}",
                  i, json_fields::describe(types[i]));
    out.push_back(slides);
  }
  return out;
}

Status check_rope_fields(const Fields& rope) {
  constexpr std::array<std::string_view, 14> kKnown{"rope_type",
                                                    "type",
                                                    "rope_theta",
                                                    "factor",
                                                    "low_freq_factor",
                                                    "high_freq_factor",
                                                    "original_max_position_embeddings",
                                                    "beta_fast",
                                                    "beta_slow",
                                                    "truncate",
                                                    "attention_factor",
                                                    "mscale",
                                                    "mscale_all_dim",
                                                    "partial_rotary_factor"};
  for (const auto& [name, value] : rope.object().items())
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end())
      return rope.unsupported(name.c_str(), "no such field");
  if (rope.has_value("partial_rotary_factor") && rope.at("partial_rotary_factor") != 1)
    return rope.unsupported("partial_rotary_factor", "1");
  return {};
}

struct Rope {
  double theta = 10000.0;
  std::optional<RopeScaling> scaling;
};

Result<std::int64_t> read_original_positions(const Fields& fields, std::int64_t max_positions) {
  if (!fields.has_value("original_max_position_embeddings")) return max_positions;
  return fields.integer("original_max_position_embeddings", 1, kMaxPositions);
}

Result<RopeScaling> read_linear(const Fields& fields) {
  LinearRopeScaling scaling;
  ASSIGN_OR_RETURN(scaling.factor, fields.number("factor", 1.0, kMaxFactor));
  return scaling;
}

// What YaRN's paper multiplies queries and keys with.
double yarn_gain(double factor, double mscale = 1.0) { return 0.1 * mscale * std::log(factor) + 1; }

Result<RopeScaling> read_yarn(const Fields& fields, std::int64_t max_positions) {
  YarnRopeScaling scaling;
  ASSIGN_OR_RETURN(scaling.factor, fields.number("factor", 1.0, kMaxFactor));
  ASSIGN_OR_RETURN(scaling.beta_fast, fields.number_or("beta_fast", 32, 1e-6, kMaxFactor));
  ASSIGN_OR_RETURN(scaling.beta_slow, fields.number_or("beta_slow", 1, 1e-6, kMaxFactor));
  if (scaling.beta_fast < scaling.beta_slow) return fields.error("beta_fast", "at least beta_slow");
  ASSIGN_OR_RETURN(scaling.truncate, fields.boolean_or("truncate", true));
  ASSIGN_OR_RETURN(scaling.original_max_positions, read_original_positions(fields, max_positions));
  // Zero counts as absent.
  ASSIGN_OR_RETURN(const double mscale, fields.number_or("mscale", 0, 0, kMaxFactor));
  ASSIGN_OR_RETURN(const double all_dim, fields.number_or("mscale_all_dim", 0, 0, kMaxFactor));
  const double usual = mscale > 0 && all_dim > 0
                           ? yarn_gain(scaling.factor, mscale) / yarn_gain(scaling.factor, all_dim)
                           : yarn_gain(scaling.factor);
  ASSIGN_OR_RETURN(scaling.attention_factor,
                   fields.number_or("attention_factor", usual, 1e-6, kMaxFactor));
  return scaling;
}

Result<RopeScaling> read_llama3(const Fields& fields, std::int64_t max_positions) {
  Llama3RopeScaling scaling;
  ASSIGN_OR_RETURN(scaling.factor, fields.number("factor", 1.0, kMaxFactor));
  ASSIGN_OR_RETURN(scaling.low_freq_factor, fields.number("low_freq_factor", 1e-6, kMaxFactor));
  ASSIGN_OR_RETURN(scaling.high_freq_factor, fields.number("high_freq_factor", 1e-6, kMaxFactor));
  if (scaling.high_freq_factor <= scaling.low_freq_factor)
    return fields.error("high_freq_factor", "more than low_freq_factor");
  ASSIGN_OR_RETURN(scaling.original_max_positions, read_original_positions(fields, max_positions));
  return scaling;
}

// One object of rope parameters; what it leaves out stays as it is in `rope`.
Status read_rope(const Fields& fields, std::int64_t max_positions, Rope& rope) {
  RETURN_IF_ERROR(check_rope_fields(fields));
  ASSIGN_OR_RETURN(rope.theta, fields.number_or("rope_theta", rope.theta, 1.0, kMaxTheta));
  const char* type_field = fields.has("rope_type") ? "rope_type" : "type";
  ASSIGN_OR_RETURN(const std::string type, fields.string_or(type_field, "default"));
  rope.scaling.reset();
  if (type == "default") return {};
  if (type == "linear") {
    ASSIGN_OR_RETURN(rope.scaling, read_linear(fields));
  } else if (type == "llama3") {
    ASSIGN_OR_RETURN(rope.scaling, read_llama3(fields, max_positions));
  } else if (type == "yarn") {
    ASSIGN_OR_RETURN(rope.scaling, read_yarn(fields, max_positions));
  } else {
    return fields.unsupported(type_field, R"("default", "linear", "llama3" or "yarn")");
  }
  return {};
}

// Older files say rope_theta and rope_scaling, newer ones rope_parameters, which holds both; for
// Gemma-3, an object of that kind for each type of layer.
class RopeReader {
 public:
  RopeReader(const Fields& fields, std::int64_t max_positions)
      : fields_(fields), max_positions_(max_positions) {}

  Status read(const char* theta_field, const char* layer_type, bool scalable, Rope& rope) const {
    ASSIGN_OR_RETURN(rope.theta, fields_.number_or(theta_field, rope.theta, 1.0, kMaxTheta));
    if (given("rope_scaling") && given("rope_parameters"))
      return fields_.error("rope_scaling", "nothing beside rope_parameters");
    if (scalable && given("rope_scaling")) return read_object("rope_scaling", "", rope);
    if (given("rope_parameters")) return read_object("rope_parameters", layer_type, rope);
    return {};
  }

 private:
  bool given(const char* name) const {
    return fields_.has_value(name) && !fields_.at(name).empty();
  }

  Status read_object(const char* name, const std::string& layer_type, Rope& rope) const {
    if (!fields_.at(name).is_object()) return fields_.error(name, "an object");
    const Fields outer(fields_.at(name), std::string(name) + ".");
    if (layer_type.empty()) {
      RETURN_IF_ERROR(read_rope(outer, max_positions_, rope));
    } else if (outer.has_value(layer_type.c_str())) {
      const auto& inner = outer.at(layer_type.c_str());
      if (!inner.is_object()) return outer.error(layer_type.c_str(), "an object");
      RETURN_IF_ERROR(
          read_rope(Fields(inner, fmt::format("{}.{}.", name, layer_type)), max_positions_, rope));
    }
    // The classes would take it in place of the one inside; linear scaling has no use for it.
    const bool counts = rope.scaling && !std::holds_alternative<LinearRopeScaling>(*rope.scaling);
    if (counts && fields_.has_value("original_max_position_embeddings"))
      return fields_.unsupported("original_max_position_embeddings",
                                 fmt::format("it inside {}", name));
    return {};
  }

  const Fields& fields_;
  std::int64_t max_positions_;
};

Status read_windows(const Fields& fields, Architecture& a) {
  ASSIGN_OR_RETURN(const Sliding sliding, sliding_of(fields, a));
  ASSIGN_OR_RETURN(const std::vector<bool> slides, sliding_layers(fields, a.layers, sliding));
  a.windows.clear();
  if (std::find(slides.begin(), slides.end(), true) == slides.end()) return {};
  for (const bool here : slides) a.windows.push_back(here ? *sliding.window : 0);
  return {};
}

Status read_nope(const Fields& fields, Architecture& a) {
  if (a.family == ModelFamily::kSmolLM3) {
    ASSIGN_OR_RETURN(a.ropes, read_nope_layers(fields, a.layers));
    if (std::find(a.ropes.begin(), a.ropes.end(), LayerRope::kNone) == a.ropes.end())
      a.ropes.clear();
    return {};
  }
  for (const char* name : {"no_rope_layers", "no_rope_layer_interval"})
    if (fields.has_value(name)) return fields.unsupported(name, "null");
  return {};
}

Status read_rotary(const Fields& fields, Architecture& a) {
  const RopeReader reader(fields, a.max_positions);
  Rope global;
  if (a.family != ModelFamily::kGemma3) {
    if (a.family == ModelFamily::kSmolLM3) global.theta = 2e6;
    if (a.family == ModelFamily::kGptOss) {
      global.theta = 150000;
      if (!fields.has_value("rope_parameters"))
        global.scaling = YarnRopeScaling{32, 32, 1, 4096, false, yarn_gain(32)};
    }
    RETURN_IF_ERROR(reader.read("rope_theta", "", true, global));
  } else {
    global.theta = 1e6;
    RETURN_IF_ERROR(reader.read("rope_theta", "full_attention", true, global));
    Rope local;
    RETURN_IF_ERROR(reader.read("rope_local_base_freq", "sliding_attention", false, local));
    if (local.scaling)
      return fields.unsupported("rope_parameters", "no scaling of the sliding layers");
    // The class looks for `truncate` outside the object of the layer type.
    if (global.scaling && std::holds_alternative<YarnRopeScaling>(*global.scaling))
      return fail(ErrorKind::kUnsupported,
                  "field 'rope_type': expected \"default\", \"linear\" or \"llama3\" in a "
                  "gemma3_text model, got \"yarn\"");
    a.local_rope_theta = local.theta;
    for (const std::int64_t window : a.windows)
      a.ropes.push_back(window == 0 ? LayerRope::kGlobal : LayerRope::kLocal);
  }
  a.rope_theta = global.theta;
  a.rope_scaling = global.scaling;
  return {};
}

}  // namespace

Status read_layers(const Fields& fields, Architecture& a) {
  RETURN_IF_ERROR(read_nope(fields, a));     // SmolLM3's NoPE layers slide by default
  RETURN_IF_ERROR(read_windows(fields, a));  // Gemma-3's sliding layers turn by their own base
  return read_rotary(fields, a);
}

}  // namespace strata::hf_layers
