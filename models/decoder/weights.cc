#include "models/decoder/weights.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/logical_and.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace strata {
namespace {

Result<at::ScalarType> scalar_type(const TensorView& view) {
  switch (view.dtype) {
    case DType::kF64: return at::kDouble;
    case DType::kF32: return at::kFloat;
    case DType::kF16: return at::kHalf;
    case DType::kBF16: return at::kBFloat16;
    default:
      return fail(ErrorKind::kUnsupported, "tensor '{}': expected floating-point weights, got {}",
                  view.name, to_string(view.dtype));
  }
}

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, at::Device device, at::ScalarType dtype)
      : checkpoint_(checkpoint), device_(device), dtype_(dtype) {}

  Result<at::Tensor> operator()(const std::string& name, std::vector<std::int64_t> shape) const {
    ASSIGN_OR_RETURN(const TensorView* view, checkpoint_.require(name, shape));
    ASSIGN_OR_RETURN(const at::ScalarType stored, scalar_type(*view));
    // from_blob wants a mutable pointer; the mapping is read-only and nothing here writes to
    // weights.
    auto* data = const_cast<std::byte*>(view->bytes.data());
    const at::Tensor mapped = at::from_blob(data, shape, at::TensorOptions().dtype(stored));
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % at::elementSize(stored) == 0;
    if (!aligned) return mapped.clone().to(device_, dtype_);
    return mapped.to(device_, dtype_);
  }

  Result<at::Tensor> norm(const std::string& name, std::int64_t size) const {
    const Architecture& a = checkpoint_.architecture();
    if (!a.norm_adds_one && a.family != ModelFamily::kGptOss) return (*this)(name, {size});
    const bool half = dtype_ == at::kHalf || dtype_ == at::kBFloat16;
    const Loader wide(checkpoint_, device_, half ? at::kFloat : dtype_);
    ASSIGN_OR_RETURN(const at::Tensor weight, wide(name, {size}));
    return a.norm_adds_one ? weight + 1 : weight;
  }

  Result<at::Tensor> if_present(bool present, const std::string& name,
                                std::vector<std::int64_t> shape) const {
    if (!present) return at::Tensor();
    return (*this)(name, std::move(shape));
  }

 private:
  const Checkpoint& checkpoint_;
  at::Device device_;
  at::ScalarType dtype_;
};

Result<ExpertWeights> load_experts(const Loader& load, const Architecture& a,
                                   const std::string& prefix) {
  const std::int64_t count = a.experts->count;
  ExpertWeights w;
  ASSIGN_OR_RETURN(w.router, load(prefix + "router.weight", {count, a.hidden}));
  ASSIGN_OR_RETURN(w.router_bias, load(prefix + "router.bias", {count}));
  ASSIGN_OR_RETURN(w.gate_up,
                   load(prefix + "experts.gate_up_proj", {count, a.hidden, 2 * a.intermediate}));
  ASSIGN_OR_RETURN(w.gate_up_bias,
                   load(prefix + "experts.gate_up_proj_bias", {count, 2 * a.intermediate}));
  ASSIGN_OR_RETURN(w.down, load(prefix + "experts.down_proj", {count, a.intermediate, a.hidden}));
  ASSIGN_OR_RETURN(w.down_bias, load(prefix + "experts.down_proj_bias", {count, a.hidden}));
  return w;
}

Status load_mlp(const Loader& load, const Architecture& a, const std::string& prefix,
                LayerWeights& w) {
  if (a.experts) {
    ASSIGN_OR_RETURN(w.experts, load_experts(load, a, prefix));
    return {};
  }
  ASSIGN_OR_RETURN(w.gate, load(prefix + "gate_proj.weight", {a.intermediate, a.hidden}));
  ASSIGN_OR_RETURN(w.up, load(prefix + "up_proj.weight", {a.intermediate, a.hidden}));
  ASSIGN_OR_RETURN(w.down, load(prefix + "down_proj.weight", {a.hidden, a.intermediate}));
  return {};
}

Result<LayerWeights> load_layer(const Loader& load, const Architecture& a, int index) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const std::int64_t query_width = a.query_heads * a.head_dim, kv_width = a.kv_heads * a.head_dim;
  LayerWeights w;
  ASSIGN_OR_RETURN(w.input_norm, load.norm(prefix + "input_layernorm.weight", a.hidden));
  const std::string behind_attention = prefix + "post_attention_layernorm.weight";
  if (a.sandwich_norms) {
    ASSIGN_OR_RETURN(w.mixer_out_norm, load.norm(behind_attention, a.hidden));
    ASSIGN_OR_RETURN(w.mlp_norm, load.norm(prefix + "pre_feedforward_layernorm.weight", a.hidden));
    ASSIGN_OR_RETURN(w.mlp_out_norm,
                     load.norm(prefix + "post_feedforward_layernorm.weight", a.hidden));
  } else {
    ASSIGN_OR_RETURN(w.mlp_norm, load.norm(behind_attention, a.hidden));
  }
  ASSIGN_OR_RETURN(w.q, load(prefix + "self_attn.q_proj.weight", {query_width, a.hidden}));
  ASSIGN_OR_RETURN(w.k, load(prefix + "self_attn.k_proj.weight", {kv_width, a.hidden}));
  ASSIGN_OR_RETURN(w.v, load(prefix + "self_attn.v_proj.weight", {kv_width, a.hidden}));
  ASSIGN_OR_RETURN(w.o, load(prefix + "self_attn.o_proj.weight", {a.hidden, query_width}));
  ASSIGN_OR_RETURN(w.q_bias,
                   load.if_present(a.qkv_bias, prefix + "self_attn.q_proj.bias", {query_width}));
  ASSIGN_OR_RETURN(w.k_bias,
                   load.if_present(a.qkv_bias, prefix + "self_attn.k_proj.bias", {kv_width}));
  ASSIGN_OR_RETURN(w.v_bias,
                   load.if_present(a.qkv_bias, prefix + "self_attn.v_proj.bias", {kv_width}));
  ASSIGN_OR_RETURN(w.o_bias,
                   load.if_present(a.o_bias, prefix + "self_attn.o_proj.bias", {a.hidden}));
  if (a.qk_norm) {
    ASSIGN_OR_RETURN(w.q_norm, load.norm(prefix + "self_attn.q_norm.weight", a.head_dim));
    ASSIGN_OR_RETURN(w.k_norm, load.norm(prefix + "self_attn.k_norm.weight", a.head_dim));
    // Attention divides by √head_dim everywhere.
    if (a.query_scalar)
      w.q_norm = w.q_norm * std::sqrt(static_cast<double>(a.head_dim) / *a.query_scalar);
  }
  ASSIGN_OR_RETURN(w.sink_logits,
                   load.if_present(a.sink_logits, prefix + "self_attn.sinks", {a.query_heads}));
  RETURN_IF_ERROR(load_mlp(load, a, prefix + "mlp.", w));
  return w;
}

// The frequencies before any stretching: θ^(2i / head_dim) and its inverse.
struct Rotary {
  double theta = 0;
  at::Tensor period, plain;
};

at::Tensor stretched(const Rotary& rotary, const LinearRopeScaling& scaling) {
  return rotary.plain / scaling.factor;
}

// `part` is 1 where a frequency is stretched, 0 where it is kept.
at::Tensor stretched(const Rotary& rotary, const YarnRopeScaling& scaling) {
  const std::int64_t half = rotary.plain.size(0);
  const auto dimension_that_turns = [&](double times) {
    const double context = static_cast<double>(scaling.original_max_positions);
    return static_cast<double>(half) * std::log(context / (times * 2 * std::numbers::pi)) /
           std::log(rotary.theta);
  };
  double low = dimension_that_turns(scaling.beta_fast);
  double high = dimension_that_turns(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(2 * half - 1));
  if (low == high) high += 0.001;  // no division by zero
  const at::Tensor part = ((at::arange(half, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const at::Tensor kept = 1 - part;
  return 1.0 / (scaling.factor * rotary.period) * (1 - kept) + rotary.plain * kept;
}

// Long wavelengths are stretched by `factor`, short ones kept, those between interpolated.
at::Tensor stretched(const Rotary& rotary, const Llama3RopeScaling& scaling) {
  const at::Tensor& plain = rotary.plain;
  const double context = static_cast<double>(scaling.original_max_positions);
  const at::Tensor wavelength = 2.0 * std::numbers::pi / plain;
  const at::Tensor smooth = (context / wavelength - scaling.low_freq_factor) /
                            (scaling.high_freq_factor - scaling.low_freq_factor);
  const at::Tensor between = (1.0 - smooth) * plain / scaling.factor + smooth * plain;
  const at::Tensor outside =
      at::where(wavelength > context / scaling.low_freq_factor, plain / scaling.factor, plain);
  const at::Tensor is_between = at::logical_and(wavelength >= context / scaling.high_freq_factor,
                                                wavelength <= context / scaling.low_freq_factor);
  return at::where(is_between, between, outside);
}

// float32 arithmetic throughout, as the reference implementation does it.
at::Tensor inverse_frequencies(const Architecture& a, double theta,
                               const std::optional<RopeScaling>& scaling) {
  const at::Tensor exponent =
      at::arange(0, a.head_dim, 2, at::kFloat) / static_cast<double>(a.head_dim);
  const at::Tensor base = at::scalar_tensor(theta, at::kFloat);
  Rotary rotary{theta, at::pow(base, exponent), {}};
  rotary.plain = 1.0 / rotary.period;
  if (!scaling) return rotary.plain;
  return std::visit([&](const auto& kind) { return stretched(rotary, kind); }, *scaling);
}

}  // namespace

Result<Weights> load_weights(const Checkpoint& checkpoint, at::Device device,
                             at::ScalarType dtype) {
  const Architecture& a = checkpoint.architecture();
  const Loader load(checkpoint, device, dtype);
  Weights w;
  ASSIGN_OR_RETURN(w.embedding, load("model.embed_tokens.weight", {a.vocabulary, a.hidden}));
  ASSIGN_OR_RETURN(w.final_norm, load.norm("model.norm.weight", a.hidden));
  if (a.tie_word_embeddings) {
    w.lm_head = w.embedding;
  } else {
    ASSIGN_OR_RETURN(w.lm_head, load("lm_head.weight", {a.vocabulary, a.hidden}));
  }
  for (int layer = 0; layer < a.layers; ++layer) {
    ASSIGN_OR_RETURN(LayerWeights layer_weights, load_layer(load, a, layer));
    w.layers.push_back(std::move(layer_weights));
  }
  w.inverse_frequencies = inverse_frequencies(a, a.rope_theta, a.rope_scaling).to(device);
  if (std::find(a.ropes.begin(), a.ropes.end(), LayerRope::kLocal) != a.ropes.end())
    w.local_inverse_frequencies =
        inverse_frequencies(a, a.local_rope_theta, std::nullopt).to(device);
  return w;
}

}  // namespace strata
