#include "models/decoder/decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/result.h"
#include "models/decoder/experts.h"
#include "models/decoder/plan_binder.h"

namespace strata {
namespace {

std::optional<at::Tensor> optional_tensor(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

// Rows of `x` that leave a layer, given x holds the rows that enter it.
at::Tensor keep_rows(const at::Tensor& x, std::span<const Segment> segments,
                     std::size_t row_index) {
  std::vector<at::Tensor> parts;
  std::int64_t offset = 0;
  bool all = true;
  for (const Segment& segment : segments) {
    const std::int64_t in = segment.rows_in(row_index), out = segment.rows_out(row_index);
    const at::Tensor entering = x.narrow(0, offset, in);
    parts.push_back(in == out || segment.batch == 1
                        ? entering.narrow(0, in - out, out)
                        : entering.unflatten(0, {segment.batch, in / segment.batch})
                              .narrow(1, (in - out) / segment.batch, out / segment.batch)
                              .flatten(0, 1));
    offset += in;
    all &= in == out;
  }
  if (all) return x;
  return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

// Rows of a table by position; a view where they are consecutive.
at::Tensor rows_by_position(const at::Tensor& table_PD, std::span<const Segment> segments,
                            std::size_t row_index, bool out) {
  std::vector<at::Tensor> parts;
  for (const Segment& segment : segments) {
    const LayerRows& rows = segment.rows[row_index];
    const std::int64_t begin = out ? rows.out_begin : rows.in_begin;
    const at::Tensor of_one = table_PD.narrow(0, begin, segment.chunk.end - begin);
    parts.insert(parts.end(), static_cast<std::size_t>(segment.batch), of_one);
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts, 0);
}

// Rotates the pairs (i, i + D/2). The sine table carries the sign of the first half.
at::Tensor rotate(const at::Tensor& x_NHD, const at::Tensor& cos_ND, const at::Tensor& sin_ND) {
  const std::int64_t half = x_NHD.size(2) / 2;
  at::Tensor out = x_NHD * cos_ND.unsqueeze(1);
  const at::Tensor sin = sin_ND.unsqueeze(1);
  out.narrow(2, 0, half).addcmul_(x_NHD.narrow(2, half, half), sin.narrow(2, 0, half));
  out.narrow(2, half, half).addcmul_(x_NHD.narrow(2, 0, half), sin.narrow(2, half, half));
  return out;
}

}  // namespace

Decoder::Decoder(Architecture architecture, Weights weights, std::vector<LayerBranch> branches)
    : architecture_(std::move(architecture)),
      weights_(std::move(weights)),
      branches_(std::move(branches)) {
  for (std::size_t i = 0; i < branches_.size(); ++i)
    STRATA_CHECK(branches_[i].layer() < architecture_.layers &&
                 (i == 0 || branches_[i].layer() > branches_[i - 1].layer()));
  global_rotary_ = rotary_table(weights_.inverse_frequencies, architecture_.rotary_gain());
  local_rotary_ = rotary_table(weights_.local_inverse_frequencies, 1.0);
}

const LayerBranch* Decoder::branch(int layer) const {
  const auto place = std::find_if(branches_.begin(), branches_.end(),
                                  [&](const LayerBranch& one) { return one.layer() == layer; });
  return place == branches_.end() ? nullptr : &*place;
}

Decoder::RotaryTable Decoder::rotary_table(const at::Tensor& inverse_frequencies,
                                           double gain) const {
  if (!inverse_frequencies.defined()) return {};
  const at::Tensor position =
      at::arange(architecture_.max_positions, inverse_frequencies.options().dtype(at::kFloat));
  // Angles in float32, as the reference implementation has them; their cosines as exact as the
  // model's dtype.
  at::Tensor angle = at::outer(position, inverse_frequencies);
  if (options().dtype() == at::kDouble) angle = angle.to(at::kDouble);
  const at::Tensor cos = at::cos(angle) * gain, sin = at::sin(angle) * gain;
  return {at::cat({cos, cos}, 1).to(options().dtype()),
          at::cat({-sin, sin}, 1).to(options().dtype())};
}

std::shared_ptr<const BoundPlan> Decoder::bind(const AttentionPlan& plan, BranchUse use) const {
  return PlanBinder(*this, use).bind(plan);
}

BatchState Decoder::make_state(const BoundPlan& plan, std::int64_t max_length,
                               std::int64_t batch) const {
  BatchState state;
  for (int layer = 0; layer < architecture_.layers; ++layer) {
    const BoundLayer& bound = plan.layer(layer);
    std::vector<KvStore>& stores = state.layers.emplace_back();
    for (const StoreGroup& group : bound.stores)
      stores.emplace_back(group.retention, batch, static_cast<std::int64_t>(group.kv_heads.size()),
                          architecture_.head_dim, max_length, options());
    std::optional<LinearStore>& linear = state.linear.emplace_back();
    if (bound.linear != nullptr) linear.emplace(bound.linear->branch.make_state(batch));
  }
  return state;
}

at::Tensor Decoder::embed(const at::Tensor& token_ids_N) const {
  at::Tensor x_NC = weights_.embedding.index_select(0, token_ids_N);
  if (!architecture_.scaled_embedding) return x_NC;
  // The reference rounds the factor to the model's dtype.
  const at::Tensor scale = at::scalar_tensor(std::sqrt(static_cast<double>(architecture_.hidden)),
                                             at::TensorOptions(at::kFloat));
  return x_NC.mul_(scale.to(x_NC.scalar_type()).item());
}

at::Tensor Decoder::norm(const at::Tensor& x, const at::Tensor& weight) const {
  if (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble)
    return at::rms_norm(x, {x.size(-1)}, weight, architecture_.rms_norm_eps);
  // Half precision: normalise in float32, then scale in the weights' dtype.
  return at::rms_norm(x.to(at::kFloat), {x.size(-1)}, std::nullopt, architecture_.rms_norm_eps)
      .to(weight.scalar_type())
      .mul_(weight)
      .to(x.scalar_type());
}

at::Tensor Decoder::mlp(const at::Tensor& x_NC, const LayerWeights& w) const {
  if (architecture_.experts) return run_experts(x_NC, w.experts, *architecture_.experts);
  const auto activate = [&](const at::Tensor& gate) {
    return architecture_.activation == Activation::kSilu ? at::silu(gate) : at::gelu(gate, "tanh");
  };
  const at::Tensor gated = activate(at::linear(x_NC, w.gate)).mul_(at::linear(x_NC, w.up));
  return at::linear(gated, w.down);
}

Decoder::RotaryRows Decoder::rotary_rows(const RotaryTable& table,
                                         std::span<const Segment> segments,
                                         std::size_t row_index) const {
  if (!table.cos_PD.defined()) return {};
  RotaryRows rotary{rows_by_position(table.cos_PD, segments, row_index, false),
                    rows_by_position(table.sin_PD, segments, row_index, false),
                    {},
                    {}};
  const bool same = std::all_of(segments.begin(), segments.end(), [&](const Segment& segment) {
    return segment.rows_in(row_index) == segment.rows_out(row_index);
  });
  rotary.out_cos_ND =
      same ? rotary.in_cos_ND : rows_by_position(table.cos_PD, segments, row_index, true);
  rotary.out_sin_ND =
      same ? rotary.in_sin_ND : rows_by_position(table.sin_PD, segments, row_index, true);
  return rotary;
}

Decoder::Projections Decoder::project_rows(const at::Tensor& normed_NC, std::size_t row_index,
                                           std::span<const Segment> segments, const LayerWeights& w,
                                           const RotaryRows* rotary) const {
  const std::int64_t d = architecture_.head_dim;
  const at::Tensor leaving_NC = keep_rows(normed_NC, segments, row_index);
  const auto heads = [&](const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias) {
    return at::linear(rows, weight, optional_tensor(bias))
        .view({rows.size(0), weight.size(0) / d, d});
  };
  Projections p{heads(leaving_NC, w.q, w.q_bias), heads(normed_NC, w.k, w.k_bias),
                heads(normed_NC, w.v, w.v_bias)};
  if (w.q_norm.defined()) p.q_NHD = norm(p.q_NHD, w.q_norm);
  if (w.k_norm.defined()) p.k_NGD = norm(p.k_NGD, w.k_norm);
  if (rotary != nullptr) {
    p.q_NHD = rotate(p.q_NHD, rotary->out_cos_ND, rotary->out_sin_ND);
    p.k_NGD = rotate(p.k_NGD, rotary->in_cos_ND, rotary->in_sin_ND);
  }
  return p;
}

at::Tensor Decoder::through_o(const at::Tensor& mixed_NHD, int layer) const {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  return at::linear(mixed_NHD.flatten(1), w.o, optional_tensor(w.o_bias));
}

at::Tensor Decoder::close_rows(const at::Tensor& x_NC, const at::Tensor& mixer_out_NC, int layer,
                               ForwardHooks* hooks) const {
  const LayerWeights& w = weights_.layers[static_cast<std::size_t>(layer)];
  at::Tensor mixer_out = added_to_stream(mixer_out_NC, layer);
  pass_hooks(hooks, Site::kMixerOut, layer, mixer_out);
  at::Tensor x = x_NC + mixer_out;
  at::Tensor mlp_out = mlp(norm(x, w.mlp_norm), w);
  if (w.mlp_out_norm.defined()) mlp_out = norm(mlp_out, w.mlp_out_norm);
  pass_hooks(hooks, Site::kMlpOut, layer, mlp_out);
  // A backward pass reads the norm's input.
  return c10::GradMode::is_enabled() ? x + mlp_out : x.add_(mlp_out);
}

Decoder::Projections Decoder::project(const at::Tensor& x_NC, int layer,
                                      const Segment& segment) const {
  const LayerRope rope = architecture_.rope(layer);
  const std::span<const Segment> one(&segment, 1);
  RotaryRows rotary;
  if (rope != LayerRope::kNone)
    rotary = rotary_rows(rope == LayerRope::kLocal ? local_rotary_ : global_rotary_, one, 0);
  return project_rows(mixer_input(x_NC, layer), 0, one,
                      weights_.layers[static_cast<std::size_t>(layer)],
                      rope == LayerRope::kNone ? nullptr : &rotary);
}

at::Tensor Decoder::close_layer(const at::Tensor& x_NC, const at::Tensor& mixed_NHD,
                                int layer) const {
  return close_rows(x_NC, through_o(mixed_NHD, layer), layer, nullptr);
}

at::Tensor Decoder::finish_layer(const at::Tensor& x_NC, const at::Tensor& mixer_out_NC,
                                 int layer) const {
  return close_rows(x_NC, mixer_out_NC, layer, nullptr);
}

at::Tensor Decoder::run_layer(const at::Tensor& x_NC, int layer, std::size_t row_index,
                              std::span<Segment> segments, const RotaryRows* rotary,
                              ForwardHooks* hooks) const {
  at::Tensor x_in = x_NC;
  pass_hooks(hooks, Site::kResidIn, layer, x_in);
  const at::Tensor normed = mixer_input(x_in, layer);
  const at::Tensor x = keep_rows(x_in, segments, row_index);
  const bool some_linear = std::any_of(segments.begin(), segments.end(), [&](const Segment& one) {
    return one.plan->layer(layer).linear != nullptr;
  });
  if (some_linear) {
    const at::Tensor mixed = mix_with_linear(normed, layer, row_index, segments, rotary, hooks);
    return x.size(0) == 0 ? x : close_rows(x, mixed, layer, hooks);
  }
  at::Tensor mixed_NHD =
      attention_heads(normed, layer, row_index, segments,
                      weights_.layers[static_cast<std::size_t>(layer)], rotary, hooks);
  if (x.size(0) == 0) return x;
  pass_hooks(hooks, Site::kHeadOut, layer, mixed_NHD);
  return close_rows(x, through_o(mixed_NHD, layer), layer, hooks);
}

at::Tensor Decoder::run_layers(at::Tensor x_NC, int first_layer, int end_layer,
                               std::span<Segment> segments, ForwardHooks* hooks) const {
  RotaryRows global, local;
  for (int layer = first_layer; layer < end_layer; ++layer) {
    const auto i = static_cast<std::size_t>(layer - first_layer);
    const auto rows_as_before = [i](const Segment& segment) {
      return segment.rows[i] == segment.rows[i - 1];
    };
    if (i == 0 || !std::all_of(segments.begin(), segments.end(), rows_as_before)) {
      global = rotary_rows(global_rotary_, segments, i);
      local = rotary_rows(local_rotary_, segments, i);
    }
    const LayerRope rope = architecture_.rope(layer);
    const RotaryRows* rotary = rope == LayerRope::kNone    ? nullptr
                               : rope == LayerRope::kLocal ? &local
                                                           : &global;
    x_NC = run_layer(x_NC, layer, i, segments, rotary,
                     hooks != nullptr && !hooks->empty() ? hooks : nullptr);
  }
  return x_NC;
}

at::Tensor Decoder::logits(const at::Tensor& x_NC) const {
  const at::Tensor out = at::linear(norm(x_NC, weights_.final_norm), weights_.lm_head);
  return out.scalar_type() == at::kDouble ? out : out.to(at::kFloat);
}

}  // namespace strata
