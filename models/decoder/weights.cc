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

class Parts {
 public:
  Parts(const Architecture& a, std::vector<WeightPart>& out) : a_(a), out_(out) {}

  void add(std::string name, std::vector<std::int64_t> shape, at::Tensor& tensor) {
    out_.push_back(
        {.name = std::move(name), .shape = std::move(shape), .tensor = &tensor, .layer = layer_});
  }
  void add_norm(std::string name, std::int64_t size, at::Tensor& tensor, double scale = 1) {
    add(std::move(name), {size}, tensor);
    out_.back().shift = a_.norm_adds_one ? 1 : 0;
    out_.back().scale = scale;
    out_.back().wide = a_.norm_adds_one || a_.family == ModelFamily::kGptOss;
  }
  void add_layer(int layer, LayerWeights& w);

 private:
  void add_experts(const std::string& prefix, ExpertWeights& w);

  const Architecture& a_;
  std::vector<WeightPart>& out_;
  int layer_ = -1;
};

void Parts::add_experts(const std::string& prefix, ExpertWeights& w) {
  const std::int64_t count = a_.experts->count;
  add(prefix + "router.weight", {count, a_.hidden}, w.router);
  add(prefix + "router.bias", {count}, w.router_bias);
  add(prefix + "experts.gate_up_proj", {count, a_.hidden, 2 * a_.intermediate}, w.gate_up);
  add(prefix + "experts.gate_up_proj_bias", {count, 2 * a_.intermediate}, w.gate_up_bias);
  add(prefix + "experts.down_proj", {count, a_.intermediate, a_.hidden}, w.down);
  add(prefix + "experts.down_proj_bias", {count, a_.hidden}, w.down_bias);
}

void Parts::add_layer(int layer, LayerWeights& w) {
  layer_ = layer;
  const std::string prefix = fmt::format("model.layers.{}.", layer);
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const std::int64_t query_width = a_.query_heads * a_.head_dim;
  const std::int64_t kv_width = a_.kv_heads * a_.head_dim;
  add_norm(prefix + "input_layernorm.weight", a_.hidden, w.input_norm);
  const std::string behind_attention = prefix + "post_attention_layernorm.weight";
  if (a_.sandwich_norms) {
    add_norm(behind_attention, a_.hidden, w.mixer_out_norm);
    add_norm(prefix + "pre_feedforward_layernorm.weight", a_.hidden, w.mlp_norm);
    add_norm(prefix + "post_feedforward_layernorm.weight", a_.hidden, w.mlp_out_norm);
  } else {
    add_norm(behind_attention, a_.hidden, w.mlp_norm);
  }
  add(attention + "q_proj.weight", {query_width, a_.hidden}, w.q);
  add(attention + "k_proj.weight", {kv_width, a_.hidden}, w.k);
  add(attention + "v_proj.weight", {kv_width, a_.hidden}, w.v);
  add(attention + "o_proj.weight", {a_.hidden, query_width}, w.o);
  if (a_.qkv_bias) {
    add(attention + "q_proj.bias", {query_width}, w.q_bias);
    add(attention + "k_proj.bias", {kv_width}, w.k_bias);
    add(attention + "v_proj.bias", {kv_width}, w.v_bias);
  }
  if (a_.o_bias) add(attention + "o_proj.bias", {a_.hidden}, w.o_bias);
  if (a_.qk_norm) {
    // Attention divides by √head_dim everywhere.
    const double scale =
        a_.query_scalar ? std::sqrt(static_cast<double>(a_.head_dim) / *a_.query_scalar) : 1;
    add_norm(attention + "q_norm.weight", a_.head_dim, w.q_norm, scale);
    add_norm(attention + "k_norm.weight", a_.head_dim, w.k_norm);
  }
  if (a_.sink_logits) add(attention + "sinks", {a_.query_heads}, w.sink_logits);
  if (a_.experts) return add_experts(mlp, w.experts);
  add(mlp + "gate_proj.weight", {a_.intermediate, a_.hidden}, w.gate);
  add(mlp + "up_proj.weight", {a_.intermediate, a_.hidden}, w.up);
  add(mlp + "down_proj.weight", {a_.hidden, a_.intermediate}, w.down);
}

Result<at::Tensor> load_part(const Checkpoint& checkpoint, const WeightPart& part,
                             at::Device device, at::ScalarType dtype) {
  ASSIGN_OR_RETURN(const TensorView* view, checkpoint.require(part.name, part.shape));
  ASSIGN_OR_RETURN(const at::ScalarType stored, scalar_type(*view));
  // from_blob wants a mutable pointer; the mapping is read-only and nothing here writes to weights.
  auto* data = const_cast<std::byte*>(view->bytes.data());
  const at::Tensor mapped = at::from_blob(data, part.shape, at::TensorOptions().dtype(stored));
  const bool aligned = reinterpret_cast<std::uintptr_t>(data) % at::elementSize(stored) == 0;
  const bool half = dtype == at::kHalf || dtype == at::kBFloat16;
  const at::Tensor tensor =
      (aligned ? mapped : mapped.clone()).to(device, part.wide && half ? at::kFloat : dtype);
  if (part.shift == 0 && part.scale == 1) return tensor;
  return (tensor + part.shift) * part.scale;
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

std::vector<WeightPart> weight_parts(const Architecture& a, Weights& w) {
  std::vector<WeightPart> out;
  Parts parts(a, out);
  parts.add("model.embed_tokens.weight", {a.vocabulary, a.hidden}, w.embedding);
  parts.add_norm("model.norm.weight", a.hidden, w.final_norm);
  if (!a.tie_word_embeddings) parts.add("lm_head.weight", {a.vocabulary, a.hidden}, w.lm_head);
  for (std::size_t layer = 0; layer < w.layers.size(); ++layer)
    parts.add_layer(static_cast<int>(layer), w.layers[layer]);
  return out;
}

Weights trainable_copy(const Architecture& a, Weights w) {
  for (const WeightPart& part : weight_parts(a, w))
    *part.tensor = part.tensor->detach().clone().requires_grad_(true);
  if (a.tie_word_embeddings) w.lm_head = w.embedding;
  return w;
}

Result<Weights> load_weights(const Checkpoint& checkpoint, at::Device device,
                             at::ScalarType dtype) {
  const Architecture& a = checkpoint.architecture();
  Weights w;
  w.layers.resize(static_cast<std::size_t>(a.layers));
  for (const WeightPart& part : weight_parts(a, w)) {
    ASSIGN_OR_RETURN(*part.tensor, load_part(checkpoint, part, device, dtype));
  }
  if (a.tie_word_embeddings) w.lm_head = w.embedding;
  w.inverse_frequencies = inverse_frequencies(a, a.rope_theta, a.rope_scaling).to(device);
  if (std::find(a.ropes.begin(), a.ropes.end(), LayerRope::kLocal) != a.ropes.end())
    w.local_inverse_frequencies =
        inverse_frequencies(a, a.local_rope_theta, std::nullopt).to(device);
  return w;
}

}  // namespace strata
