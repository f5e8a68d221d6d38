#include "models/path_attribution.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "models/cost.h"
#include "models/training/attention_gradient.h"
#include "models/training/weight_gradients.h"

namespace strata {
namespace {

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(true); }

// Backward products beside forward ones: five where attention has two (its scores are computed
// anew).
constexpr double kAttentionBackward = 2.5;

}  // namespace

PathAttribution::PathAttribution(MeteredModel& model, PatchTexts& texts)
    : model_(model),
      decoder_(model.model().decoder()),
      device_(decoder_.options().device()),
      layers_(model.layout().layers),
      heads_(model.layout().query_heads),
      texts_(texts) {}

// Through the upper half of a layer at its last `rows` carried rows, run once more. Without d_out
// the layer is the top one, whose output is read.
PathAttribution::Gradient PathAttribution::of_close(int layer, std::int64_t rows,
                                                    const at::Tensor& d_out_nC) {
  const PatchLayer& here = texts_.layer(layer);
  const at::AutoGradMode mode(true);
  const at::Tensor x_nC = leaf(last_rows(here.x_nC, rows));
  const at::Tensor mixed_nHD = last_rows(here.mixed_nHD, rows);
  const at::Tensor mixer_nC = leaf(decoder_.through_o(mixed_nHD, layer));
  at::Tensor out = decoder_.finish_layer(x_nC, mixer_nC, layer);
  if (!d_out_nC.defined())
    out = (decoder_.final_norm(out).to(at::kDouble) * texts_.readout()).sum();
  Tensors d_out;
  if (d_out_nC.defined()) d_out.push_back(d_out_nC);
  const Tensors d = differentiate({out}, {x_nC, mixer_nC}, d_out, nullptr, layer);
  const auto count = static_cast<double>(rows);
  texts_.meter.flops += 2 * count * row_flops(model_.model().shape()).o_mlp;
  texts_.meter.layer_tokens += count;
  const at::NoGradGuard no_grad;
  const auto through = [&](const at::Tensor& o_CI) {
    return at::matmul(d[1].to(o_CI.scalar_type()), o_CI).view(mixed_nHD.sizes());
  };
  Gradient gradient{
      d[0], through(decoder_.weights().layers[static_cast<std::size_t>(layer)].o), {}};
  gradient.other_nHD = gradient.mixed_nHD;
  if (texts_.linear()) {
    gradient.other_nHD = through(decoder_.branch(layer)->weights().o);
    texts_.meter.flops += 2.0 * static_cast<double>(mixed_nHD.numel() * x_nC.size(1));
  }
  return gradient;
}

// Through the attention of heads of a layer, to its input at the carried rows: d_heads is given at
// these rows, or at the answer's alone.
at::Tensor PathAttribution::of_attention(int layer, const Heads& heads,
                                         const at::Tensor& d_heads_nhD, bool answer_alone) {
  const PatchLayer& here = texts_.layer(layer);
  const ModelShape& shape = model_.model().shape();
  const RowFlops row = row_flops(shape);
  Heads of_kv;
  for (const std::int64_t head : heads) of_kv.push_back(head / (heads_ / shape.heads.kv_heads));
  const at::Tensor head_index = at::tensor(heads, at::kLong).to(device_);
  const at::Tensor kv_index = at::tensor(of_kv, at::kLong).to(device_);
  const bool is_double = decoder_.options().dtype() == at::kDouble;
  // [rows, heads, D] → [1, heads, rows, D], summed in float32 at least.
  const auto wide = [&](const at::Tensor& x_NHD, const at::Tensor& index) {
    return x_NHD.detach()
        .index_select(1, index)
        .to(is_double ? at::kDouble : at::kFloat)
        .transpose(0, 1)
        .unsqueeze(0);
  };
  const at::Tensor k_1hND = wide(here.k_NGD, kv_index), v_1hND = wide(here.v_NGD, kv_index);
  const at::Tensor d_k_1hND = at::zeros_like(k_1hND), d_v_1hND = at::zeros_like(v_1hND);
  at::Tensor sinks = decoder_.sink_logits(layer);
  if (sinks.defined()) sinks = sinks.index_select(0, head_index);

  const at::AutoGradMode mode(true);
  const at::Tensor x_nC = leaf(here.x_nC);
  std::vector<Decoder::Projections> projections;
  Tensors outputs, d_outputs;
  // Gradients of some heads [1, h, rows, D] as those of all heads of a projection.
  const auto among_all = [](const at::Tensor& d_1hND, const at::Tensor& index,
                            const at::Tensor& all_NHD) {
    return at::zeros(all_NHD.sizes(), d_1hND.options())
        .index_add_(1, index, d_1hND.squeeze(0).transpose(0, 1))
        .to(all_NHD.scalar_type());
  };
  std::int64_t offset = 0, read = 0;
  for (const PatchRows& range : texts_.carried()) {
    const std::int64_t query_begin = texts_.query_begin(range, answer_alone);
    const Segment segment = texts_.segment(range, query_begin, 1);
    const Decoder::Projections& p = projections.emplace_back(
        decoder_.project(x_nC.narrow(0, offset, range.size()), layer, segment));
    offset += range.size();
    const std::int64_t queries = range.end - query_begin;
    texts_.meter.flops +=
        2 * (static_cast<double>(range.size()) * row.kv + static_cast<double>(queries) * row.q);
    if (queries == 0) continue;
    const at::NoGradGuard no_grad;
    const at::Tensor q_1hND = wide(p.q_NHD, head_index);
    const at::Tensor d_out_1hND = d_heads_nhD.narrow(0, read, queries).transpose(0, 1).unsqueeze(0);
    read += queries;
    const PaletteEntry full{};
    AttentionGradients sum{at::zeros_like(q_1hND), d_k_1hND, d_v_1hND, {}};
    add_attention_gradients(q_1hND, k_1hND, v_1hND,
                            query_blocks(full, query_begin, range.end, texts_.prompt(), device_),
                            sinks, d_out_1hND, sum);
    texts_.meter.flops += kAttentionBackward * static_cast<double>(heads.size()) * 4.0 *
                          static_cast<double>(shape.head_dim) *
                          visible_pairs(full, query_begin, range.end, texts_.prompt());
    outputs.push_back(p.q_NHD);
    d_outputs.push_back(among_all(sum.q_BHND, head_index, p.q_NHD));
  }
  // Keys are seen from their own range and from all behind it.
  for (std::size_t i = 0; i < projections.size(); ++i) {
    const PatchRows& range = texts_.carried()[i];
    const at::NoGradGuard no_grad;
    const auto here_of = [&](const at::Tensor& d_1hND) {
      return d_1hND.narrow(2, range.begin, range.size());
    };
    outputs.push_back(projections[i].k_NGD);
    d_outputs.push_back(among_all(here_of(d_k_1hND), kv_index, projections[i].k_NGD));
    outputs.push_back(projections[i].v_NGD);
    d_outputs.push_back(among_all(here_of(d_v_1hND), kv_index, projections[i].v_NGD));
  }
  return differentiate(outputs, {x_nC}, d_outputs, nullptr, layer)[0];
}

// Σ (O(x) − O(x′)) · ∂m/∂O(x) over the rows of the gradient, the last of the carried; O as what it
// adds to the mixer's output, where clean and corrupted go there by different weights.
double PathAttribution::effect(int layer, std::int64_t head, const Gradient& gradient) const {
  const PatchLayer& here = texts_.layer(layer);
  const auto of_head = [&](const at::Tensor& t) {
    return last_rows(t, gradient.mixed_nHD.size(0)).select(1, head).to(at::kDouble);
  };
  const at::Tensor clean = of_head(here.mixed_nHD), other = of_head(here.other_nHD);
  const at::Tensor d_clean = of_head(gradient.mixed_nHD);
  if (!texts_.linear()) return ((clean - other) * d_clean).sum().item<double>();
  return (clean * d_clean - other * of_head(gradient.other_nHD)).sum().item<double>();
}

std::vector<PathAttribution::Gradient> PathAttribution::readout_gradients(int lowest) {
  std::vector<Gradient> of_layers(static_cast<std::size_t>(layers_));
  at::Tensor d_x;
  for (int layer = layers_ - 1; layer >= lowest; --layer) {
    Gradient& here = of_layers[static_cast<std::size_t>(layer)] =
        of_close(layer, texts_.answer(), d_x);
    d_x = std::move(here.x_nC);
  }
  return of_layers;
}

std::vector<double> PathAttribution::direct() {
  const std::vector<Gradient> gradients = readout_gradients(0);
  texts_.meter.backward_tokens += static_cast<double>(texts_.answer());
  std::vector<double> effects;
  for (int layer = 0; layer < layers_; ++layer)
    for (std::int64_t head = 0; head < heads_; ++head)
      effects.push_back(effect(layer, head, gradients[static_cast<std::size_t>(layer)]));
  return effects;
}

std::vector<double> PathAttribution::through(std::span<const std::size_t> senders,
                                             std::span<const std::size_t> receivers) {
  std::vector<double> effects(senders.size(), 0.0);
  if (senders.empty() || receivers.empty()) return effects;
  const auto layer_of = [&](std::size_t head) {
    return static_cast<int>(head / static_cast<std::size_t>(heads_));
  };
  const auto in_layer = [&](std::size_t head) {
    return static_cast<std::int64_t>(head % static_cast<std::size_t>(heads_));
  };
  const int lowest = layer_of(senders.front()), top = layer_of(receivers.back());
  if (top <= lowest) return effects;
  std::map<int, Heads> of_layer;
  for (const std::size_t head : receivers)
    if (layer_of(head) > lowest) of_layer[layer_of(head)].push_back(in_layer(head));
  const std::vector<Gradient> read = readout_gradients(of_layer.begin()->first);
  texts_.meter.backward_tokens += static_cast<double>(texts_.carried_rows());

  at::Tensor d_x;  // of the stream that enters the layer above; nothing is read above the highest
  for (int layer = top; layer >= lowest; --layer) {
    Gradient gradient;
    if (layer < top) {
      gradient = of_close(layer, texts_.carried_rows(), d_x);
      for (std::size_t i = 0; i < senders.size(); ++i)
        if (layer_of(senders[i]) == layer)
          effects[i] = effect(layer, in_layer(senders[i]), gradient);
    }
    const auto found = of_layer.find(layer);
    if (layer == lowest) break;
    if (found != of_layer.end()) {
      const at::Tensor index = at::tensor(found->second, at::kLong).to(device_);
      at::Tensor d_heads_nhD =
          read[static_cast<std::size_t>(layer)].mixed_nHD.index_select(1, index);
      if (layer < top) {  // what they send on, and what is read of them
        const at::Tensor on_nhD = gradient.mixed_nHD.index_select(1, index);
        last_rows(on_nhD, texts_.answer()).add_(d_heads_nhD);
        d_heads_nhD = on_nhD;
      }
      const at::Tensor d_own_nC = of_attention(layer, found->second, d_heads_nhD, layer == top);
      gradient.x_nC = gradient.x_nC.defined() ? gradient.x_nC + d_own_nC : d_own_nC;
    }
    d_x = gradient.x_nC;
  }
  return effects;
}

}  // namespace strata
