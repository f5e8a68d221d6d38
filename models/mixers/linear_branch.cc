#include "models/mixers/linear_branch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/result.h"
#include "core/rng.h"
#include "models/mixers/head_slices.h"

namespace strata {
namespace {

std::optional<at::Tensor> optional_tensor(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

double logit(double p) { return std::log(p / (1 - p)); }

// Normal numbers over √columns, the same on every machine.
at::Tensor random_matrix(std::int64_t rows, std::int64_t columns, Rng rng) {
  at::Tensor out = at::empty({rows, columns}, at::kDouble);
  for (std::int64_t i = 0; i < out.numel(); ++i)
    out.mutable_data_ptr<double>()[i] = rng.normal() / std::sqrt(static_cast<double>(columns));
  return out;
}

}  // namespace

std::uint64_t BranchState::bytes() const {
  std::uint64_t total = state.bytes();
  for (const ConvolutionState* part : {&q, &k, &v})
    if (part->tail_BWC.defined()) total += part->bytes();
  return total;
}

BranchState BranchState::clone() const {
  BranchState copy = *this;
  copy.state = state.clone();
  for (ConvolutionState* part : {&copy.q, &copy.k, &copy.v})
    if (part->tail_BWC.defined()) *part = part->clone();
  return copy;
}

LayerBranch LayerBranch::initial(const Architecture& a, const Weights& model, int layer,
                                 const LinearBranchConfig& config) {
  STRATA_CHECK(layer >= 0 && layer < a.layers);
  const LayerWeights& from = model.layers[static_cast<std::size_t>(layer)];
  LayerBranch branch;
  branch.config_ = config;
  branch.layer_ = layer;
  branch.heads_ = a.query_heads;
  branch.kv_heads_ = config.expand_kv_heads ? a.query_heads : a.kv_heads;
  branch.head_dim_ = a.head_dim;
  branch.epsilon_ = a.rms_norm_eps;
  if (const LayerRope rope = a.rope(layer); config.rope && rope != LayerRope::kNone) {
    const bool local = rope == LayerRope::kLocal;
    branch.inverse_frequencies_ =
        local ? model.local_inverse_frequencies : model.inverse_frequencies;
    branch.rotary_gain_ = local ? 1.0 : a.rotary_gain();
  }

  const at::TensorOptions options = from.q.options().dtype(sum_type(from.q.scalar_type()));
  const auto copied = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.detach().to(options, /*non_blocking=*/false, /*copy=*/true)
                            : at::Tensor();
  };
  const auto of_kv = [&](const at::Tensor& tensor) {  // rows by KV head → by the branch's heads
    at::Tensor here = copied(tensor);
    if (!here.defined() || branch.kv_heads_ == a.kv_heads) return here;
    return here.unflatten(0, {a.kv_heads, a.head_dim})
        .repeat_interleave(a.query_heads / a.kv_heads, 0)
        .flatten(0, 1);
  };
  if (config.kind == LinearKind::kLightning) {
    const double depth =
        a.layers > 1 ? static_cast<double>(layer) / static_cast<double>(a.layers - 1) : 0;
    const double factor = config.layer_decay ? 1 - depth + 1e-5 : 1;
    const at::Tensor head_H = at::arange(1, branch.heads_ + 1, options);
    branch.log_decay_H_ = -factor * (head_H * (-8.0 / static_cast<double>(branch.heads_))).exp2();
  }
  const std::int64_t width = branch.heads_ * a.head_dim, kv_width = branch.kv_heads_ * a.head_dim;
  BranchWeights& w = branch.weights_;
  w.q = copied(from.q);
  w.k = of_kv(from.k);
  w.v = of_kv(from.v);
  w.o = copied(from.o);
  w.q_bias = copied(from.q_bias);
  w.k_bias = of_kv(from.k_bias);
  w.v_bias = of_kv(from.v_bias);
  w.o_bias = copied(from.o_bias);
  w.q_norm = copied(from.q_norm);
  w.k_norm = copied(from.k_norm);
  if (config.output_norm) w.out_norm = at::ones({a.head_dim}, options);
  if (config.output_gate) {
    w.gate = at::zeros({width, a.hidden}, options);
    w.gate_bias = at::full({width}, logit(config.start_gate), options);
  }
  if (config.fusion == HeadFusion::kNorm) {
    w.softmax_norm = at::ones({a.head_dim}, options);
    w.head_gain = at::full({branch.heads_}, config.start_gain, options);
  }
  if (config.kind == LinearKind::kGla) {
    w.decay_down = random_matrix(config.gate_rank, a.hidden,
                                 Rng(config.seed, fmt::format("gate of layer {}", layer)))
                       .to(options);
    w.decay_up = at::zeros({width, config.gate_rank}, options);
    // logsigmoid(bias) = divisor · log(decay), without the difference 1 − sigmoid.
    const double log_sigmoid = config.gate_divisor * std::log(config.start_decay);
    w.decay_bias = at::full({width}, log_sigmoid - std::log(-std::expm1(log_sigmoid)), options);
  }
  if (config.kind == LinearKind::kGatedDeltaNet) {
    w.decay = at::zeros({branch.heads_, a.hidden}, options);
    w.decay_log = at::zeros({branch.heads_}, options);
    // softplus(shift) = −log(decay).
    w.decay_shift =
        at::full({branch.heads_}, std::log(std::expm1(-std::log(config.start_decay))), options);
    w.beta = at::zeros({branch.heads_, a.hidden}, options);
    if (config.conv_width > 0) {
      const auto identity = [&](std::int64_t channels) {
        at::Tensor taps = at::zeros({channels, config.conv_width}, options);
        taps.select(1, config.conv_width - 1).fill_(1);
        return taps;
      };
      w.q_conv = identity(width);
      w.k_conv = identity(kv_width);
      w.v_conv = identity(kv_width);
    }
  }
  return branch;
}

std::vector<BranchPart> LayerBranch::parts() {
  BranchWeights& w = weights_;
  const std::pair<const char*, at::Tensor*> all[] = {
      {"q_proj.weight", &w.q},           {"k_proj.weight", &w.k},
      {"v_proj.weight", &w.v},           {"o_proj.weight", &w.o},
      {"q_proj.bias", &w.q_bias},        {"k_proj.bias", &w.k_bias},
      {"v_proj.bias", &w.v_bias},        {"o_proj.bias", &w.o_bias},
      {"q_norm.weight", &w.q_norm},      {"k_norm.weight", &w.k_norm},
      {"g_proj.weight", &w.gate},        {"g_proj.bias", &w.gate_bias},
      {"o_norm.weight", &w.out_norm},    {"gk_proj.0.weight", &w.decay_down},
      {"gk_proj.1.weight", &w.decay_up}, {"gk_proj.1.bias", &w.decay_bias},
      {"a_proj.weight", &w.decay},       {"dt_bias", &w.decay_shift},
      {"A_log", &w.decay_log},           {"b_proj.weight", &w.beta},
      {"q_conv1d.weight", &w.q_conv},    {"k_conv1d.weight", &w.k_conv},
      {"v_conv1d.weight", &w.v_conv},    {"softmax_norm.weight", &w.softmax_norm},
      {"head_gain", &w.head_gain},
  };
  std::vector<BranchPart> out;
  for (const auto& [name, tensor] : all)
    if (tensor->defined())
      out.push_back({.name = fmt::format("model.layers.{}.linear_attn.{}", layer_, name),
                     .tensor = tensor,
                     .fusion = tensor == &w.softmax_norm || tensor == &w.head_gain});
  return out;
}

BranchState LayerBranch::make_state(std::int64_t batch) const {
  const at::TensorOptions options = weights_.q.options().dtype(wide_type()).requires_grad(false);
  BranchState state{.state = LinearState::zeros(batch, heads_, head_dim_, head_dim_, options)};
  const auto tail = [&](const at::Tensor& taps_CW) {
    return taps_CW.defined()
               ? ConvolutionState::zeros(batch, taps_CW.size(1), taps_CW.size(0), options)
               : ConvolutionState{};
  };
  state.q = tail(weights_.q_conv);
  state.k = tail(weights_.k_conv);
  state.v = tail(weights_.v_conv);
  return state;
}

BranchOutput LayerBranch::forward(const at::Tensor& x_BNC, const BranchState& state) const {
  BranchRead read = run(x_BNC, state, 0, /*one_token=*/false);
  return {through_o(read.heads_BNHD).to(x_BNC.scalar_type()), std::move(read.state)};
}

BranchOutput LayerBranch::step(const at::Tensor& x_B1C, const BranchState& state) const {
  STRATA_CHECK(x_B1C.size(1) == 1);
  BranchRead read = run(x_B1C, state, 0, /*one_token=*/true);
  return {through_o(read.heads_BNHD).to(x_B1C.scalar_type()), std::move(read.state)};
}

BranchRead LayerBranch::read(const at::Tensor& x_BNC, const BranchState& state,
                             std::int64_t first_out) const {
  return run(x_BNC, state, first_out, /*one_token=*/x_BNC.size(1) == 1);
}

at::Tensor LayerBranch::through_o(const at::Tensor& heads_BNHD) const {
  return at::linear(heads_BNHD.flatten(2), weights_.o, optional_tensor(weights_.o_bias));
}

LayerBranch LayerBranch::subset(std::span<const std::int64_t> heads) const {
  const auto index = [&](const std::vector<std::int64_t>& list) {
    return at::tensor(list, at::kLong).to(weights_.q.device());
  };
  std::vector<std::int64_t> kv_heads, kv_of_head;
  for (const std::int64_t head : heads) {
    const std::int64_t kv_head = head * kv_heads_ / heads_;
    if (kv_heads.empty() || kv_heads.back() != kv_head) kv_heads.push_back(kv_head);
    kv_of_head.push_back(std::ssize(kv_heads) - 1);
  }
  STRATA_CHECK(!heads.empty() && heads.back() < heads_ && !kv_of_head_H_.defined());
  const at::Tensor of_q = index({heads.begin(), heads.end()}), of_kv = index(kv_heads);
  LayerBranch part = *this;
  part.heads_ = std::ssize(heads);
  part.kv_heads_ = std::ssize(kv_heads);
  part.kv_of_head_H_ = part.heads_ == part.kv_heads_ ? at::Tensor() : index(kv_of_head);
  if (log_decay_H_.defined()) part.log_decay_H_ = log_decay_H_.index_select(0, of_q);
  const std::int64_t d = head_dim_;
  BranchWeights& w = part.weights_;
  for (at::Tensor* by_channel :
       {&w.q, &w.q_bias, &w.gate, &w.gate_bias, &w.decay_up, &w.decay_bias, &w.q_conv})
    *by_channel = head_slices(*by_channel, of_q, d);
  for (at::Tensor* by_channel : {&w.k, &w.v, &w.k_bias, &w.v_bias, &w.k_conv, &w.v_conv})
    *by_channel = head_slices(*by_channel, of_kv, d);
  for (at::Tensor* by_head : {&w.decay, &w.decay_shift, &w.decay_log, &w.beta})
    *by_head = head_slices(*by_head, of_q, 1);
  w.o = head_slices(w.o, of_q, d, /*dimension=*/1);
  w.o_bias = w.softmax_norm = w.head_gain = at::Tensor();
  return part;
}

LayerBranch LayerBranch::narrowed(at::ScalarType type) const {
  LayerBranch narrow = *this;
  const BranchWeights& w = narrow.weights_;
  const at::Tensor* const wide[] = {&w.q_conv, &w.k_conv, &w.v_conv, &w.decay_log, &w.decay_shift};
  for (const BranchPart& part : narrow.parts())
    if (std::find(std::begin(wide), std::end(wide), part.tensor) == std::end(wide))
      *part.tensor = part.tensor->detach().to(type);
  return narrow;
}

// Pairs (i, i + D/2), with angles in float32 as the decoder has them.
at::Tensor LayerBranch::turned(const at::Tensor& x_BHND, std::int64_t begin) const {
  if (!inverse_frequencies_.defined()) return x_BHND;
  const at::Tensor position =
      at::arange(begin, begin + x_BHND.size(2), inverse_frequencies_.options());
  const at::Tensor angle_NF = at::outer(position, inverse_frequencies_).to(wide_type());
  const at::Tensor cos = (at::cat({angle_NF, angle_NF}, 1).cos() * rotary_gain_).to(dtype());
  const at::Tensor sin = (at::cat({-angle_NF, angle_NF}, 1).sin() * rotary_gain_).to(dtype());
  const std::vector<at::Tensor> halves = x_BHND.chunk(2, -1);
  return x_BHND * cos + at::cat({halves[1], halves[0]}, -1) * sin;
}

LinearOutput LayerBranch::mix(const at::Tensor& x_BNC, const at::Tensor& q_BHND,
                              const at::Tensor& k_BHND, const at::Tensor& v_BHND,
                              const LinearState& state, bool one_token) const {
  const BranchWeights& w = weights_;
  switch (config_.kind) {
    case LinearKind::kLightning:
      return one_token ? lightning_step(q_BHND, k_BHND, v_BHND, log_decay_H_, state)
                       : lightning(q_BHND, k_BHND, v_BHND, log_decay_H_, state);
    case LinearKind::kGla: {
      const at::Tensor raw = at::linear(at::linear(x_BNC, w.decay_down), w.decay_up, w.decay_bias);
      const at::Tensor log_gate_BHND = (at::log_sigmoid(raw.to(wide_type())) / config_.gate_divisor)
                                           .unflatten(2, {heads_, head_dim_})
                                           .transpose(1, 2);
      return one_token ? gla_step(q_BHND, k_BHND, v_BHND, log_gate_BHND, state)
                       : gla(q_BHND, k_BHND, v_BHND, log_gate_BHND, state);
    }
    case LinearKind::kGatedDeltaNet: {
      const at::Tensor raw = at::linear(x_BNC, w.decay).to(wide_type()) + w.decay_shift;
      const at::Tensor log_decay_BHN = (-w.decay_log.exp() * at::softplus(raw)).transpose(1, 2);
      const at::Tensor beta_BHN =
          (at::linear(x_BNC, w.beta).to(wide_type()).sigmoid() * config_.max_beta).transpose(1, 2);
      return one_token ? gated_deltanet_step(q_BHND, k_BHND, v_BHND, log_decay_BHN, beta_BHN, state)
                       : gated_deltanet(q_BHND, k_BHND, v_BHND, log_decay_BHN, beta_BHN, state);
    }
  }
  STRATA_CHECK(false, "no such kind");
}

BranchRead LayerBranch::run(const at::Tensor& given_BNC, const BranchState& before,
                            std::int64_t first_out, bool one_token) const {
  const BranchWeights& w = weights_;
  const at::Tensor x_BNC = given_BNC.to(dtype());
  BranchState after = before;
  after.length += x_BNC.size(1);
  const auto project = [&](const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& taps,
                           ConvolutionState& tail) {
    at::Tensor rows = at::linear(x_BNC, weight, optional_tensor(bias));
    if (taps.defined()) {
      ConvolutionOutput convolved = short_convolution(rows.to(wide_type()), taps, tail);
      rows = convolved.out_BNC.to(dtype());
      tail = std::move(convolved.state);
    }
    return rows.unflatten(2, {-1, head_dim_}).transpose(1, 2);
  };
  const auto normed = [&](const at::Tensor& x, const at::Tensor& weight) {
    return weight.defined() ? at::rms_norm(x, {head_dim_}, weight, epsilon_) : x;
  };
  const auto for_each_head = [&](const at::Tensor& x) {
    if (kv_heads_ == heads_) return x;
    return kv_of_head_H_.defined() ? x.index_select(1, kv_of_head_H_)
                                   : x.repeat_interleave(heads_ / kv_heads_, 1);
  };
  const at::Tensor q_BHND =
      turned(normed(project(w.q, w.q_bias, w.q_conv, after.q), w.q_norm), before.length);
  const at::Tensor k_BHND = for_each_head(
      turned(normed(project(w.k, w.k_bias, w.k_conv, after.k), w.k_norm), before.length));
  const at::Tensor v_BHND = for_each_head(project(w.v, w.v_bias, w.v_conv, after.v));

  LinearOutput mixed = mix(x_BNC, q_BHND, k_BHND, v_BHND, before.state, one_token);
  after.state = std::move(mixed.state);
  const auto leaving = [&](const at::Tensor& x, std::int64_t dimension) {
    return first_out == 0 ? x : x.narrow(dimension, first_out, x.size(dimension) - first_out);
  };
  at::Tensor out_BHND = leaving(mixed.out_BHNV, 2);
  if (config_.scale_query) out_BHND = out_BHND / std::sqrt(static_cast<double>(head_dim_));
  at::Tensor heads_BNHD = normed(out_BHND, w.out_norm).transpose(1, 2);
  if (w.gate.defined())
    heads_BNHD =
        heads_BNHD *
        at::linear(leaving(x_BNC, 1), w.gate, w.gate_bias).sigmoid().unflatten(2, {-1, head_dim_});
  return {std::move(heads_BNHD), std::move(after)};
}

LinearSize LayerBranch::size() const {
  return {.parts = linear_parts(config_),
          .hidden = weights_.q.size(1),
          .head_dim = head_dim_,
          .heads = heads_,
          .kv_heads = kv_heads_};
}

BranchFlops LayerBranch::flops(std::int64_t rows) const {
  const LinearSize size = this->size();
  const BranchFlops in = entering_flops(size), out = leaving_flops(size);
  const auto n = static_cast<double>(rows);
  return {n * (in.from_input + out.from_input),
          n * (in.behind + out.behind) +
              static_cast<double>(heads_) * recurrence_flops(size.parts, head_dim_, 0, rows, rows)};
}

}  // namespace strata
