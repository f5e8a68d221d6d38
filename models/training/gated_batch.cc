#include "models/training/gated_batch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <limits>

#include "models/cost.h"
#include "models/forward.h"
#include "models/mixers/attention.h"
#include "models/training/weight_gradients.h"

namespace strata {

struct TeacherRows::Impl {
  // Of the scored rows: what leaves the last layer, before the final norm; for kAlignment what is
  // compared, layer by layer.
  at::Tensor rows_NC;
};

namespace {

// Five products of attention where forward has two: the scores are computed anew.
constexpr double kAttentionBackward = 2.5;

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(true); }

}  // namespace

GatedBatch::GatedBatch(const Model& model, const GatedAttention& attention,
                       std::span<const GatedRequest> requests)
    : decoder_(model.decoder()),
      shape_(model.shape()),
      attention_(attention),
      requests_(requests),
      first_(requests.front()),
      device_(decoder_.options().device()) {
  const auto prompt = static_cast<std::int64_t>(first_.prompt.size());
  const auto answer = static_cast<std::int64_t>(first_.answer.size());
  chunk_ = {.begin = 0,
            .end = prompt + answer - 1,
            .prompt_length = prompt,
            .first_read = prompt + answer - 1 - (first_.scored > 0 ? first_.scored : answer),
            .retain = false};
}

at::Tensor GatedBatch::tokens(std::int64_t begin, std::int64_t count) const {
  Tokens all;
  for (const GatedRequest& request : requests_)
    for (std::int64_t i = begin; i < begin + count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      all.push_back(at < request.prompt.size() ? request.prompt[at]
                                               : request.answer[at - request.prompt.size()]);
    }
  return token_tensor(all, device_);
}

at::Tensor GatedBatch::input() const { return decoder_.embed(tokens(0, chunk_.end)); }

at::Tensor GatedBatch::leaving(const at::Tensor& x_NC, int layer) const {
  const std::int64_t begin = out_begin(layer);
  if (begin == 0) return x_NC;
  return by_sequence(x_NC).narrow(1, begin, chunk_.end - begin).flatten(0, 1);
}

at::Tensor GatedBatch::scored_rows(const at::Tensor& x_NC) const {
  const at::Tensor x_BNC = by_sequence(x_NC);
  return x_BNC.narrow(1, x_BNC.size(1) - scored(), scored()).flatten(0, 1);
}

at::Tensor GatedBatch::aligned(const at::Tensor& x_NC, const at::Tensor& mixer_out_NC,
                               int layer) const {
  const at::Tensor out_NC = decoder_.added_to_stream(mixer_out_NC, layer);
  return first_.alignment.residual ? scored_rows(x_NC) + out_NC : out_NC;
}

at::Tensor GatedBatch::alignment_loss(const at::Tensor& aligned_NC, int layer) const {
  const auto wide = gates_LB1H1_.scalar_type();
  Tensors teachers;
  for (const GatedRequest& request : requests_)
    teachers.push_back(request.teacher->impl->rows_NC.narrow(0, layer * scored(), scored()));
  const at::Tensor teacher_BNC = at::stack(teachers).to(wide);
  const auto per_row = [&](const at::Tensor& x_BNC) {
    return x_BNC.square().sum(at::IntArrayRef({1, 2})) / static_cast<double>(scored());
  };
  const at::Tensor distance_B = per_row(by_sequence(aligned_NC).to(wide) - teacher_BNC);
  at::Tensor loss_B = distance_B / static_cast<double>(layers());
  if (first_.alignment.normalised)  // a layer that adds nothing is at no distance from itself
    loss_B = loss_B / per_row(teacher_BNC).clamp_min(std::numeric_limits<float>::min());
  return loss_B;
}

Decoder::Projections GatedBatch::project(const at::Tensor& x_NC, int layer) const {
  const Segment segment{chunk_, nullptr, nullptr, {{0, out_begin(layer)}}, batch()};
  return decoder_.project(x_NC, layer, segment);
}

at::Tensor GatedBatch::attend_by(const Decoder::Projections& p, int layer,
                                 const PaletteEntry& entry) const {
  at::Tensor out = at::empty_like(p.q_NHD, at::MemoryFormat::Contiguous);
  const KeyView keys{{}, {}, heads_first(p.k_NGD.detach()), heads_first(p.v_NGD.detach()), 0};
  attend(heads_first(p.q_NHD.detach()), out_begin(layer), keys, entry, chunk_.prompt_length,
         heads_first(out), decoder_.sink_logits(layer));
  return out;
}

at::Tensor GatedBatch::gates_by_head() const {
  const int heads = shape_.heads.query_heads;
  const int units = shape_.heads.units_per_layer(attention_.granularity);
  const auto unit_of = [&](int layer, int head) { return layer * units + head * units / heads; };
  std::vector<double> gates;
  for (int layer = 0; layer < layers(); ++layer)
    for (const GatedRequest& request : requests_)
      for (int head = 0; head < heads; ++head)
        gates.push_back(request.gates[static_cast<std::size_t>(unit_of(layer, head))]);
  const bool wide = decoder_.options().dtype() == at::kDouble;
  return at::tensor(gates, at::kDouble)
      .to(device_, wide ? at::kDouble : at::kFloat)
      .view({layers(), batch(), 1, heads, 1});
}

LayerTape GatedBatch::forward(const at::Tensor& x_NC, const at::Tensor& teacher_x_NC, int layer,
                              bool record) const {
  if (linear()) return forward_linear(x_NC, teacher_x_NC, layer, record);
  const at::AutoGradMode mode(record);
  const bool separate = attention_.separate_layers;
  LayerTape tape;
  tape.x_NC = record && !separate ? leaf(x_NC) : x_NC;
  tape.projections = project(tape.x_NC, layer);
  {
    const at::NoGradGuard no_grad;
    const at::Tensor kept_NHD = attend_by(
        teacher_x_NC.defined() ? project(teacher_x_NC, layer) : tape.projections, layer, kept());
    if (teacher_x_NC.defined()) tape.kept_NHD = kept_NHD;
    const at::Tensor cheap_NHD = attend_by(tape.projections, layer, cheap());
    const at::Tensor gate_B1H1 = gates_of(layer);
    const auto wide = gate_B1H1.scalar_type();
    // Exact where a gate is 0 or 1.
    tape.mixed_NHD =
        at::lerp(by_sequence(cheap_NHD).to(wide), by_sequence(kept_NHD).to(wide), gate_B1H1)
            .to(kept_NHD.scalar_type())
            .flatten(0, 1);
    if (record) tape.kept_minus_cheap_NHD = kept_NHD - cheap_NHD;
    if (separate) tape.out_NC = decoder_.close_layer(leaving(x_NC, layer), kept_NHD, layer);
  }
  tape.mixed_NHD.requires_grad_(record);
  if (aligns())
    tape.loss_B = alignment_loss(
        aligned(tape.x_NC, decoder_.through_o(scored_rows(tape.mixed_NHD), layer), layer), layer);
  if (!separate)
    tape.out_NC = decoder_.close_layer(leaving(tape.x_NC, layer), tape.mixed_NHD, layer);
  return tape;
}

at::Tensor GatedBatch::backward(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                                at::Tensor& d_gate_BH) const {
  if (linear()) return backward_linear(tape, layer, d_out_NC, d_gate_BH);
  WeightGradients* const weights = first_.weights;
  const Tensors upper = through_upper_half(tape, layer, d_out_NC, {tape.mixed_NHD});
  const at::NoGradGuard no_grad;
  const at::Tensor gate_B1H1 = gates_of(layer);
  const auto wide = gate_B1H1.scalar_type();
  const at::Tensor d_mixed_BNHD = by_sequence(upper[0]).to(wide);
  d_gate_BH = (d_mixed_BNHD * by_sequence(tape.kept_minus_cheap_NHD))
                  .sum(at::IntArrayRef({1, 3}), false, at::kDouble);
  if (attention_.separate_layers) return {};
  const Decoder::Projections& p = tape.projections;
  const Tensors d_qkv =
      through_attention(p, layer, teacher_stream() ? at::Tensor() : d_mixed_BNHD * gate_B1H1,
                        d_mixed_BNHD * (1.0 - gate_B1H1));
  const Tensors lower =
      differentiate({p.q_NHD, p.k_NGD, p.v_NGD}, {tape.x_NC}, d_qkv, weights, layer);
  return upper[1] + lower[0];
}

Tensors GatedBatch::through_upper_half(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                                       Tensors leaves) const {
  Tensors outputs, d_outputs;
  if (!attention_.separate_layers) {
    outputs.push_back(tape.out_NC);
    d_outputs.push_back(d_out_NC);
    leaves.push_back(tape.x_NC);
  }
  if (aligns()) {
    outputs.push_back(tape.loss_B);
    d_outputs.push_back(at::ones_like(tape.loss_B));
  }
  return differentiate(outputs, leaves, d_outputs, first_.weights, layer);
}

Tensors GatedBatch::through_attention(const Decoder::Projections& p, int layer,
                                      const at::Tensor& d_kept_BNHD,
                                      const at::Tensor& d_cheap_BNHD) const {
  WeightGradients* const weights = first_.weights;
  const auto widened = [&](const at::Tensor& x_NHD) {  // once for both kinds of attention
    return heads_first(x_NHD.detach().to(gates_LB1H1_.scalar_type()));
  };
  const at::Tensor q = widened(p.q_NHD), k = widened(p.k_NGD), v = widened(p.v_NGD);
  AttentionGradients sum{at::zeros_like(q), at::zeros_like(k), at::zeros_like(v), {}};
  const bool has_sinks = weights != nullptr && decoder_.sink_logits(layer).defined();
  if (has_sinks) sum.sink_logits_H = at::zeros({q.size(1)}, q.options());
  const bool top = layer + 1 == layers();
  const auto add = [&](const std::vector<QueryBlock>& rows, const at::Tensor& d_BNHD) {
    if (!d_BNHD.defined()) return;
    add_attention_gradients(q, k, v, rows, decoder_.sink_logits(layer), d_BNHD.transpose(1, 2),
                            sum);
  };
  add(top ? top_kept_blocks_ : kept_blocks_, d_kept_BNHD);
  add(top ? top_cheap_blocks_ : cheap_blocks_, d_cheap_BNHD);
  if (has_sinks) weights->add_sink_logits(layer, sum.sink_logits_H);
  const auto rows_first = [](const at::Tensor& d_BHND, const at::Tensor& like) {
    return d_BHND.transpose(1, 2).flatten(0, 1).to(like.scalar_type());
  };
  return {rows_first(sum.q_BHND, p.q_NHD), rows_first(sum.k_BGMD, p.k_NGD),
          rows_first(sum.v_BGMD, p.v_NGD)};
}

// Logits exist for a chunk of rows at a time: of whole sequences, or of a part of one.
GatedBatch::Loss GatedBatch::loss_and_gradient(const at::Tensor& top_NC,
                                               std::int64_t logits) const {
  const std::int64_t rows = top_NC.size(0), of_one = scored();
  const std::int64_t fit = std::max<std::int64_t>(logits / shape_.vocabulary, 1);
  const std::int64_t step = fit < of_one ? fit : fit / of_one * of_one;
  const at::Tensor target_N1 = tokens(chunk_.first_read + 1, of_one).to(at::kLong).unsqueeze(1);
  at::Tensor all_teacher_NC;
  if (first_.loss != PassLoss::kNll) {
    Tensors teachers;
    for (const GatedRequest& request : requests_)
      teachers.push_back(request.teacher->impl->rows_NC);
    all_teacher_NC = teachers.size() == 1 ? teachers[0] : at::cat(teachers);
  }
  const double share = 1.0 / static_cast<double>(of_one);
  Tensors losses, nlls, d_tops;
  for (std::int64_t begin = 0, count = 0; begin < rows; begin += count) {
    count = std::min(step, step < of_one ? of_one - begin % of_one : rows - begin);
    const std::int64_t sequences = std::max<std::int64_t>(count / of_one, 1);
    const auto sum_by_sequence = [&](const at::Tensor& x) {
      return x.reshape({sequences, -1}).sum(1);
    };
    const at::AutoGradMode mode(true);
    const at::Tensor x_NC = leaf(top_NC.narrow(0, begin, count));
    const at::Tensor log_p_NV = at::log_softmax(decoder_.logits(x_NC), 1);
    const at::Tensor nll_N = -log_p_NV.gather(1, target_N1.narrow(0, begin, count)).squeeze(1);
    at::Tensor loss_B;
    if (first_.loss == PassLoss::kNll) {
      loss_B = sum_by_sequence(nll_N);
    } else {
      const at::Tensor teacher_NC = all_teacher_NC.narrow(0, begin, count);
      if (first_.loss == PassLoss::kHidden) {
        const at::Tensor difference = decoder_.final_norm(x_NC).to(log_p_NV.scalar_type()) -
                                      decoder_.final_norm(teacher_NC).to(log_p_NV.scalar_type());
        loss_B = sum_by_sequence(difference.square().mean(1));
      } else {
        const at::Tensor teacher_NV = at::log_softmax(decoder_.logits(teacher_NC), 1);
        loss_B = sum_by_sequence(teacher_NV.exp() * (teacher_NV - log_p_NV));
      }
    }
    d_tops.push_back(differentiate({loss_B.sum()}, {x_NC}, {}, first_.weights, -1, share)[0] /
                     static_cast<double>(of_one));
    losses.push_back(loss_B.detach());
    nlls.push_back(nll_N.detach());
  }
  return {at::cat(losses).to(at::kDouble).view({batch(), -1}).sum(1) / static_cast<double>(of_one),
          at::cat(nlls), at::cat(d_tops)};
}

std::vector<GatedGradient> GatedBatch::run(const PassLimits& limits) {
  const bool separate = attention_.separate_layers;
  while (!separate && kept_tapes_ < layers() &&
         gated_pass_bytes(shape_, chunk_.end, kept_tapes_ + 1, batch(), attention_.cheap) <=
             limits.memory_bytes)
    ++kept_tapes_;
  const auto blocks = [&](const PaletteEntry& entry, std::int64_t begin) {
    return query_blocks(entry, begin, chunk_.end, chunk_.prompt_length, device_);
  };
  kept_blocks_ = blocks(kept(), 0);
  top_kept_blocks_ = blocks(kept(), chunk_.first_read);
  if (!linear()) {
    cheap_blocks_ = blocks(cheap(), 0);
    top_cheap_blocks_ = blocks(cheap(), chunk_.first_read);
  }

  gates_LB1H1_ = gates_by_head();
  const at::NoGradGuard no_grad;
  std::vector<LayerTape> tapes(static_cast<std::size_t>(layers()));
  std::vector<at::Tensor> inputs, teacher_inputs(tapes.size());
  std::vector<at::Tensor> d_gates(tapes.size());
  at::Tensor x = input(), loss_B = at::zeros({batch()}, gates_LB1H1_.options().dtype(at::kDouble));
  at::Tensor teacher = teacher_stream() ? x : at::Tensor();
  for (int layer = 0; layer < layers(); ++layer) {
    const auto i = static_cast<std::size_t>(layer);
    inputs.push_back(x);
    teacher_inputs[i] = teacher;
    const bool record = separate || layer >= layers() - kept_tapes_;
    LayerTape tape = forward(x, teacher, layer, record);
    if (teacher.defined() && layer + 1 < layers())
      teacher = decoder_.close_layer(teacher, tape.kept_NHD, layer);
    if (!linear()) tape.kept_NHD = at::Tensor();
    x = tape.out_NC.detach();
    if (aligns()) loss_B += tape.loss_B.detach();
    if (separate) {  // nothing above changes what its gates do
      backward(tape, layer, {}, d_gates[i]);
      inputs[i] = at::Tensor();
    } else if (record) {
      tapes[i] = std::move(tape);
    }
  }
  const Loss loss = aligns() ? Loss{loss_B, at::empty({0}), at::zeros_like(x)}
                             : loss_and_gradient(x, limits.logits);
  at::Tensor d_x = loss.d_top_NC;
  for (int layer = separate ? -1 : layers() - 1; layer >= 0; --layer) {
    const auto i = static_cast<std::size_t>(layer);
    if (!tapes[i].out_NC.defined()) tapes[i] = forward(inputs[i], teacher_inputs[i], layer, true);
    d_x = backward(tapes[i], layer, d_x, d_gates[i]);
    tapes[i] = {};
    inputs[i] = at::Tensor();
  }
  if (first_.weights != nullptr) {
    const at::AutoGradMode mode(true);
    differentiate({input()}, {}, {d_x}, first_.weights, -1);  // of the embedding
  }
  const auto numbers = [](const at::Tensor& all) {
    const at::Tensor here = all.contiguous();
    return std::vector<double>(here.const_data_ptr<double>(),
                               here.const_data_ptr<double>() + here.numel());
  };
  const std::vector<double> losses = numbers(loss.loss_B.to(at::kCPU));
  const at::Tensor nll_BN = by_sequence(loss.nll_N.to(at::kCPU, at::kDouble));
  const at::Tensor by_head_LBH = at::stack(d_gates).to(at::kCPU);
  const auto units = std::int64_t{shape_.heads.units_per_layer(attention_.granularity)};
  std::vector<GatedGradient> results;
  for (std::int64_t b = 0; b < batch(); ++b)
    results.push_back(
        {.loss = losses[static_cast<std::size_t>(b)],
         .nll = numbers(nll_BN.select(0, b)),
         .gradient = numbers(by_head_LBH.select(1, b).unflatten(1, {units, -1}).sum(-1))});
  return results;
}

std::vector<TeacherRows> GatedBatch::teacher_rows() {
  const at::NoGradGuard no_grad;
  at::Tensor x = input();
  Tensors of_layers;
  for (int layer = 0; layer < layers(); ++layer) {
    const at::Tensor mixed_NHD = attend_by(project(x, layer), layer, kept());
    if (aligns())
      of_layers.push_back(
          by_sequence(aligned(x, decoder_.through_o(scored_rows(mixed_NHD), layer), layer)));
    x = decoder_.close_layer(leaving(x, layer), mixed_NHD, layer);
  }
  const at::Tensor rows_BNC = aligns() ? at::cat(of_layers, 1) : by_sequence(x);
  std::vector<TeacherRows> all;
  for (const at::Tensor& rows_NC : rows_BNC.unbind(0)) {
    const at::Tensor own = batch() == 1 ? rows_NC : rows_NC.clone();  // they may live on alone
    all.push_back(
        {std::make_shared<const TeacherRows::Impl>(TeacherRows::Impl{own}), own.nbytes()});
  }
  return all;
}

GatedBatch::CheapFlops GatedBatch::cheap_flops(int count) const {
  if (linear()) return branch_flops(count);
  const AttentionPlan all = plan(false);
  std::vector<LayerRows> rows = all_rows(all, chunk_);
  rows.resize(static_cast<std::size_t>(count));
  const double attention = run_cost(all, shape_, chunk_, rows, 0).flops.attention;
  return {attention, kAttentionBackward * attention};
}

AttentionPlan GatedBatch::plan(bool keeps) const {
  return *AttentionPlan::from_mask(Mask(attention_.granularity, shape_.heads, keeps),
                                   attention_.kept, attention_.cheap, attention_.rule);
}

Meter GatedBatch::meter(bool gradient) const {
  Meter meter;
  const HeadLayout& layout = shape_.heads;
  const AttentionPlan all = plan(true);
  const auto kept_cost = [&](int count) {
    std::vector<LayerRows> rows = all_rows(all, chunk_);
    rows.resize(static_cast<std::size_t>(count));
    return run_cost(all, shape_, chunk_, rows, 0);
  };
  const RunCost all_kept = kept_cost(layers());
  meter.forward_tokens += static_cast<double>(chunk_.end);
  meter.layer_tokens += all_kept.layer_tokens;
  // Alignment looks at no logits, but at the mixers' outputs of the scored rows.
  const double lm_head = aligns() ? 0 : all_kept.flops.lm_head;
  const double width =
      static_cast<double>(layout.query_heads) * static_cast<double>(shape_.head_dim);
  double aligned = aligns() ? 2 * width * static_cast<double>(shape_.hidden) *
                                  static_cast<double>(scored() * layers())
                            : 0;
  // Linear attention is mixed behind both o: in the pass itself, or in separate layers' scored
  // rows.
  if (linear() && gradient) aligned *= attention_.separate_layers ? 2 : 0;
  meter.flops += all_kept.flops.linear + all_kept.flops.attention + lm_head + aligned;
  if (!gradient) return times(meter, batch());
  const CheapFlops all_cheap = cheap_flops(layers());
  const auto input_bytes =
      static_cast<std::uint64_t>(chunk_.end * shape_.hidden * shape_.bytes_per_value);
  ++meter.evaluations;
  meter.flops += all_cheap.forward;
  if (attention_.separate_layers) {
    meter.flops += aligned;
    meter.backward_tokens += static_cast<double>(scored());
    meter.peak_bytes = input_bytes;
    return times(meter, batch());
  }
  const int again = layers() - kept_tapes_;
  const RunCost again_kept = kept_cost(again);
  meter.flops += again_kept.flops.linear + again_kept.flops.attention + cheap_flops(again).forward;
  // A teacher's stream is a forward pass of its own; the mixed one then has no attention of the
  // kept kind, nor, beside linear attention, any use for its queries, keys and values.
  const double streams = teacher_stream() ? 2 : 1;
  const double kept_attention = teacher_stream() ? 0 : all_kept.flops.attention;
  const double mixed_linear =
      all_kept.flops.linear - (teacher_stream() && linear() ? projection_flops() : 0);
  if (teacher_stream()) meter.flops += mixed_linear;
  // Backward: as much as forward in linear layers, and as much again for gradients of their
  // weights.
  const double products = first_.weights == nullptr ? 1 : 2;
  meter.flops += products * (mixed_linear + lm_head) + kAttentionBackward * kept_attention +
                 all_cheap.backward + aligned * (1 + static_cast<double>(again) / layers());
  meter.layer_tokens += (streams - 1) * all_kept.layer_tokens + again_kept.layer_tokens;
  meter.forward_tokens += (streams - 1) * static_cast<double>(chunk_.end);
  meter.backward_tokens += static_cast<double>(chunk_.end);
  meter.peak_bytes =
      static_cast<std::uint64_t>(streams) * input_bytes * static_cast<std::uint64_t>(layers());
  return times(meter, batch());
}

}  // namespace strata
