#include "models/training/gated_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/lerp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>

#include "models/cost.h"
#include "models/forward.h"
#include "models/mixers/attention.h"
#include "models/training/attention_gradient.h"
#include "models/training/weight_gradients.h"

namespace strata {

// Legend: N rows, C hidden size, H query heads, G KV heads, D head size, V vocabulary.
struct TeacherRows::Impl {
  at::Tensor top_NC;  // of the scored rows, before the final norm
};

namespace {

at::Tensor heads_first(const at::Tensor& x_NHD) { return x_NHD.transpose(0, 1).unsqueeze(0); }

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(true); }

// What a layer must remember for its backward half.
struct LayerTape {
  at::Tensor x_NC;                   // leaf
  Decoder::Projections projections;  // depend on x
  at::Tensor mixed_NHD;              // leaf
  at::Tensor out_NC;                 // depends on x and mixed
  at::Tensor kept_minus_cheap_NHD;
};

class Pass {
 public:
  Pass(const Model& model, const GatedAttention& attention, const GatedRequest& request)
      : decoder_(model.decoder()),
        shape_(model.shape()),
        attention_(attention),
        request_(request),
        device_(decoder_.options().device()) {
    tokens_.assign(request.prompt.begin(), request.prompt.end());
    tokens_.insert(tokens_.end(), request.answer.begin(), request.answer.end());
    const auto length = static_cast<std::int64_t>(tokens_.size());
    const std::int64_t scored =
        request.scored > 0 ? request.scored : static_cast<std::int64_t>(request.answer.size());
    chunk_ = {.begin = 0,
              .end = length - 1,
              .prompt_length = static_cast<std::int64_t>(request.prompt.size()),
              .first_read = length - 1 - scored,
              .retain = false};
  }

  const Tokens& tokens() const { return tokens_; }

  GatedGradient run(std::uint64_t memory_bytes);
  at::Tensor teacher_top();
  void meter(Meter& meter, bool gradient) const;

 private:
  int layers() const { return shape_.heads.layers; }
  PaletteEntry kept() const { return {attention_.kept, DecodeRule::kSame}; }
  PaletteEntry cheap() const { return {attention_.cheap, attention_.rule}; }
  std::int64_t out_begin(int layer) const { return layer + 1 == layers() ? chunk_.first_read : 0; }
  at::Tensor input() const {
    return decoder_.embed(token_tensor(std::span(tokens_).first(tokens_.size() - 1), device_));
  }
  at::Tensor leaving(const at::Tensor& x_NC, int layer) const {
    return x_NC.narrow(0, out_begin(layer), chunk_.end - out_begin(layer));
  }
  Decoder::Projections project(const at::Tensor& x_NC, int layer) const {
    const Segment segment{chunk_, nullptr, nullptr, {{0, out_begin(layer)}}};
    return decoder_.project(x_NC, layer, segment);
  }
  at::Tensor attend_by(const Decoder::Projections& p, int layer, const PaletteEntry& entry) const {
    at::Tensor out = at::empty_like(p.q_NHD, at::MemoryFormat::Contiguous);
    const KeyView keys{{}, {}, heads_first(p.k_NGD.detach()), heads_first(p.v_NGD.detach()), 0};
    attend(heads_first(p.q_NHD.detach()), out_begin(layer), keys, entry, chunk_.prompt_length,
           heads_first(out), decoder_.sink_logits(layer));
    return out;
  }
  // One gate a query head, float32 at least, [layers, H, 1]: copied to the device once, since a
  // copy waits for all that is queued there.
  at::Tensor gates_by_head() const;
  at::Tensor gates_of(int layer) const { return gates_LH1_.select(0, layer); }
  LayerTape forward(const at::Tensor& x_NC, const at::Tensor& teacher_x_NC, int layer,
                    bool record) const;
  // Returns ∂ loss/∂ x and sets the gradient of the layer's gates, by query head.
  at::Tensor backward(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                      at::Tensor& d_gate_H) const;
  // On the device: read when everything is queued.
  struct Loss {
    at::Tensor loss, nll_N, d_top_NC;
  };
  Loss loss_and_gradient(const at::Tensor& top_NC) const;
  const Decoder& decoder_;
  const ModelShape& shape_;
  const GatedAttention& attention_;
  const GatedRequest& request_;
  at::Device device_;
  Tokens tokens_;
  Chunk chunk_;
  int kept_tapes_ = 0;
  at::Tensor gates_LH1_;
  std::vector<QueryBlock> kept_blocks_, cheap_blocks_, top_kept_blocks_, top_cheap_blocks_;
};

at::Tensor Pass::gates_by_head() const {
  const int heads = shape_.heads.query_heads;
  const int units = shape_.heads.units_per_layer(attention_.granularity);
  std::vector<double> gates;
  for (int layer = 0; layer < layers(); ++layer)
    for (int head = 0; head < heads; ++head)
      gates.push_back(
          request_.gates[static_cast<std::size_t>(layer * units + head * units / heads)]);
  const bool wide = decoder_.options().dtype() == at::kDouble;
  return at::tensor(gates, at::kDouble)
      .to(device_, wide ? at::kDouble : at::kFloat)
      .view({layers(), heads, 1});
}

LayerTape Pass::forward(const at::Tensor& x_NC, const at::Tensor& teacher_x_NC, int layer,
                        bool record) const {
  const at::AutoGradMode mode(record);
  LayerTape tape;
  tape.x_NC = record ? leaf(x_NC) : x_NC;
  tape.projections = project(tape.x_NC, layer);
  {
    const at::NoGradGuard no_grad;
    const at::Tensor kept_NHD = attend_by(
        teacher_x_NC.defined() ? project(teacher_x_NC, layer) : tape.projections, layer, kept());
    const at::Tensor cheap_NHD = attend_by(tape.projections, layer, cheap());
    const at::Tensor gate_H1 = gates_of(layer);
    const auto wide = gate_H1.scalar_type();
    // Exact where a gate is 0 or 1.
    tape.mixed_NHD =
        at::lerp(cheap_NHD.to(wide), kept_NHD.to(wide), gate_H1).to(kept_NHD.scalar_type());
    if (record) tape.kept_minus_cheap_NHD = kept_NHD - cheap_NHD;
  }
  tape.mixed_NHD.requires_grad_(record);
  tape.out_NC = decoder_.close_layer(leaving(tape.x_NC, layer), tape.mixed_NHD, layer);
  return tape;
}

at::Tensor Pass::backward(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                          at::Tensor& d_gate_H) const {
  const Tensors upper = differentiate({tape.out_NC}, {tape.x_NC, tape.mixed_NHD}, {d_out_NC},
                                      request_.weights, layer);
  const at::NoGradGuard no_grad;
  const at::Tensor gate_H1 = gates_of(layer);
  const at::Tensor d_mixed_NHD = upper[1].to(gate_H1.scalar_type());
  d_gate_H =
      (d_mixed_NHD * tape.kept_minus_cheap_NHD).sum(at::IntArrayRef({0, 2}), false, at::kDouble);
  const Decoder::Projections& p = tape.projections;
  const at::Tensor q = heads_first(p.q_NHD.detach()), k = heads_first(p.k_NGD.detach()),
                   v = heads_first(p.v_NGD.detach());
  AttentionGradients sum{at::zeros_like(q, gate_H1.scalar_type()),
                         at::zeros_like(k, gate_H1.scalar_type()),
                         at::zeros_like(v, gate_H1.scalar_type()),
                         {}};
  const bool has_sinks = request_.weights != nullptr && decoder_.sink_logits(layer).defined();
  if (has_sinks) sum.sink_logits_H = at::zeros_like(gate_H1.squeeze(-1));
  const bool top = layer + 1 == layers();
  const auto add = [&](const std::vector<QueryBlock>& rows, const at::Tensor& d_NHD) {
    add_attention_gradients(q, k, v, rows, decoder_.sink_logits(layer), heads_first(d_NHD), sum);
  };
  if (!attention_.kept_from_teacher)
    add(top ? top_kept_blocks_ : kept_blocks_, d_mixed_NHD * gate_H1);
  add(top ? top_cheap_blocks_ : cheap_blocks_, d_mixed_NHD * (1.0 - gate_H1));
  if (has_sinks) request_.weights->add_sink_logits(layer, sum.sink_logits_H);
  const auto rows_first = [](const at::Tensor& d_BHND, const at::Tensor& like) {
    return d_BHND.squeeze(0).transpose(0, 1).to(like.scalar_type());
  };
  const Tensors lower =
      differentiate({p.q_NHD, p.k_NGD, p.v_NGD}, {tape.x_NC},
                    {rows_first(sum.q_BHND, p.q_NHD), rows_first(sum.k_BGMD, p.k_NGD),
                     rows_first(sum.v_BGMD, p.v_NGD)},
                    request_.weights, layer);
  return upper[0] + lower[0];
}

// Logits exist for a chunk of rows at a time.
Pass::Loss Pass::loss_and_gradient(const at::Tensor& top_NC) const {
  constexpr std::int64_t kLogitsAtOnce = std::int64_t{1} << 26;
  const std::int64_t rows = top_NC.size(0);
  const std::int64_t step = std::clamp<std::int64_t>(kLogitsAtOnce / shape_.vocabulary, 1, rows);
  const at::Tensor target_N1 =
      token_tensor(std::span(tokens_).last(static_cast<std::size_t>(rows)), device_)
          .to(at::kLong)
          .unsqueeze(1);
  const double share = 1.0 / static_cast<double>(rows);
  Tensors losses, nlls, d_tops;
  for (std::int64_t begin = 0; begin < rows; begin += step) {
    const std::int64_t count = std::min(step, rows - begin);
    const at::AutoGradMode mode(true);
    const at::Tensor x_NC = leaf(top_NC.narrow(0, begin, count));
    const at::Tensor log_p_NV = at::log_softmax(decoder_.logits(x_NC), 1);
    const at::Tensor nll_N = -log_p_NV.gather(1, target_N1.narrow(0, begin, count)).squeeze(1);
    at::Tensor loss;
    if (request_.loss == PassLoss::kNll) {
      loss = nll_N.sum();
    } else {
      const at::Tensor teacher_NC = request_.teacher->impl->top_NC.narrow(0, begin, count);
      if (request_.loss == PassLoss::kHidden) {
        const at::Tensor difference = decoder_.final_norm(x_NC).to(log_p_NV.scalar_type()) -
                                      decoder_.final_norm(teacher_NC).to(log_p_NV.scalar_type());
        loss = difference.square().mean(1).sum();
      } else {
        const at::Tensor teacher_NV = at::log_softmax(decoder_.logits(teacher_NC), 1);
        loss = (teacher_NV.exp() * (teacher_NV - log_p_NV)).sum();
      }
    }
    d_tops.push_back(differentiate({loss}, {x_NC}, {}, request_.weights, -1, share)[0] /
                     static_cast<double>(rows));
    losses.push_back(loss.detach());
    nlls.push_back(nll_N.detach());
  }
  return {at::stack(losses).to(at::kDouble).sum() / static_cast<double>(rows), at::cat(nlls),
          at::cat(d_tops)};
}

GatedGradient Pass::run(std::uint64_t memory_bytes) {
  while (kept_tapes_ < layers() &&
         gated_pass_bytes(shape_, chunk_.end, kept_tapes_ + 1) <= memory_bytes)
    ++kept_tapes_;
  const auto blocks = [&](const PaletteEntry& entry, std::int64_t begin) {
    return query_blocks(entry, begin, chunk_.end, chunk_.prompt_length, device_);
  };
  kept_blocks_ = blocks(kept(), 0);
  cheap_blocks_ = blocks(cheap(), 0);
  top_kept_blocks_ = blocks(kept(), chunk_.first_read);
  top_cheap_blocks_ = blocks(cheap(), chunk_.first_read);

  gates_LH1_ = gates_by_head();
  const at::NoGradGuard no_grad;
  std::vector<LayerTape> tapes(static_cast<std::size_t>(layers()));
  std::vector<at::Tensor> inputs, teacher_inputs(tapes.size());
  at::Tensor x = input(), teacher = attention_.kept_from_teacher ? x : at::Tensor();
  for (int layer = 0; layer < layers(); ++layer) {
    const auto i = static_cast<std::size_t>(layer);
    inputs.push_back(x);
    teacher_inputs[i] = teacher;
    const bool record = layer >= layers() - kept_tapes_;
    LayerTape tape = forward(x, teacher, layer, record);
    x = tape.out_NC.detach();
    if (record) tapes[i] = std::move(tape);
    if (teacher.defined() && layer + 1 < layers())
      teacher =
          decoder_.close_layer(teacher, attend_by(project(teacher, layer), layer, kept()), layer);
  }
  const Loss loss = loss_and_gradient(x);
  at::Tensor d_x = loss.d_top_NC;
  std::vector<at::Tensor> d_gates(tapes.size());
  for (int layer = layers() - 1; layer >= 0; --layer) {
    const auto i = static_cast<std::size_t>(layer);
    if (!tapes[i].out_NC.defined()) tapes[i] = forward(inputs[i], teacher_inputs[i], layer, true);
    d_x = backward(tapes[i], layer, d_x, d_gates[i]);
    tapes[i] = {};
    inputs[i] = at::Tensor();
  }
  if (request_.weights != nullptr) {
    const at::AutoGradMode mode(true);
    differentiate({input()}, {}, {d_x}, request_.weights, -1);  // of the embedding
  }
  GatedGradient result{.loss = loss.loss.item<double>()};
  const at::Tensor nll_N = loss.nll_N.to(at::kCPU, at::kDouble);
  result.nll.assign(nll_N.const_data_ptr<double>(), nll_N.const_data_ptr<double>() + nll_N.numel());
  const at::Tensor by_head_LH = at::stack(d_gates).to(at::kCPU);
  const auto units = std::int64_t{shape_.heads.units_per_layer(attention_.granularity)};
  const at::Tensor by_unit =
      by_head_LH.view({layers() * units, shape_.heads.query_heads / units}).sum(1);
  result.gradient.assign(by_unit.const_data_ptr<double>(),
                         by_unit.const_data_ptr<double>() + by_unit.numel());
  return result;
}

at::Tensor Pass::teacher_top() {
  const at::NoGradGuard no_grad;
  at::Tensor x = input();
  for (int layer = 0; layer < layers(); ++layer)
    x = decoder_.close_layer(leaving(x, layer), attend_by(project(x, layer), layer, kept()), layer);
  return x;
}

void Pass::meter(Meter& meter, bool gradient) const {
  const HeadLayout& layout = shape_.heads;
  const auto plan = [&](bool keeps) {
    return *AttentionPlan::from_mask(Mask(attention_.granularity, layout, keeps), attention_.kept,
                                     attention_.cheap, attention_.rule);
  };
  const auto cost = [&](bool keeps, int count) {
    const AttentionPlan under = plan(keeps);
    std::vector<LayerRows> rows = all_rows(under, chunk_);
    rows.resize(static_cast<std::size_t>(count));
    return run_cost(under, shape_, chunk_, rows, 0);
  };
  const RunCost all_kept = cost(true, layers());
  meter.forward_tokens += static_cast<double>(chunk_.end);
  meter.layer_tokens += all_kept.layer_tokens;
  meter.flops += all_kept.flops.total();
  if (!gradient) return;
  const RunCost all_cheap = cost(false, layers());
  const int again = layers() - kept_tapes_;
  const RunCost again_kept = cost(true, again), again_cheap = cost(false, again);
  // A teacher's stream is a forward pass of its own.
  const double streams = attention_.kept_from_teacher ? 2 : 1;
  const double kept_attention = attention_.kept_from_teacher ? 0 : all_kept.flops.attention;
  meter.flops += all_cheap.flops.attention + again_kept.flops.linear + again_kept.flops.attention +
                 again_cheap.flops.attention;
  if (attention_.kept_from_teacher) meter.flops += all_kept.flops.linear;
  // Backward: as much as forward in linear layers, and as much again for gradients of their
  // weights; five products of attention where forward has two (the scores are computed anew).
  const double products = request_.weights == nullptr ? 1 : 2;
  meter.flops += products * (all_kept.flops.linear + all_kept.flops.lm_head) +
                 2.5 * (kept_attention + all_cheap.flops.attention);
  meter.layer_tokens += (streams - 1) * all_kept.layer_tokens + again_kept.layer_tokens;
  meter.forward_tokens += (streams - 1) * static_cast<double>(chunk_.end);
  meter.backward_tokens += static_cast<double>(chunk_.end);
  ++meter.evaluations;
  meter.peak_bytes =
      static_cast<std::uint64_t>(streams) *
      static_cast<std::uint64_t>(chunk_.end * shape_.hidden * shape_.bytes_per_value) *
      static_cast<std::uint64_t>(layers());
}

Status check_request(const MeteredModel& model, const Pass& pass, const GatedRequest& request) {
  if (request.answer.empty())
    return fail(ErrorKind::kInvalidArgument, "the answer is empty; expected at least 1 token");
  STRATA_CHECK(request.scored >= 0 &&
               request.scored < static_cast<std::int64_t>(pass.tokens().size()));
  return model.check(pass.tokens(), static_cast<std::int64_t>(pass.tokens().size()),
                     AttentionPlan::full(model.layout()));
}

}  // namespace

std::uint64_t gated_pass_bytes(const ModelShape& shape, std::int64_t rows, int kept_layers) {
  const auto heads = static_cast<double>(shape.heads.query_heads);
  const auto kv_heads = static_cast<double>(shape.heads.kv_heads);
  const auto width = static_cast<double>(shape.head_dim),
             hidden = static_cast<double>(shape.hidden);
  const auto n = static_cast<double>(rows), bytes = static_cast<double>(shape.bytes_per_value);
  const auto inner = static_cast<double>(shape.intermediate) *
                     std::max<double>(1, static_cast<double>(shape.experts_per_token));
  // A layer: norms with their inputs, projections before and after the turn, both outputs, the
  // MLP's gate, up and products.
  const double tape = n * bytes * (6 * hidden + (5 * heads + 4 * kv_heads) * width + 5 * inner);
  const double inputs = n * bytes * hidden * shape.heads.layers;
  // A block of scores and its gradient, in float32; logits of a chunk, three times.
  const double block = std::min(n, 1024.0) * n * heads * 4 * 4;
  const double logits =
      4.0 * 3.0 *
      std::max(static_cast<double>(std::int64_t{1} << 26), static_cast<double>(shape.vocabulary));
  return static_cast<std::uint64_t>(inputs + tape * std::max(kept_layers, 1) + block + logits);
}

Result<GatedGradient> gate_gradient(MeteredModel& model, const GatedAttention& attention,
                                    const GatedRequest& request, std::uint64_t memory_bytes) {
  const HeadLayout& layout = model.layout();
  const auto units =
      static_cast<std::size_t>(layout.layers * layout.units_per_layer(attention.granularity));
  if (request.gates.size() != units)
    return fail(ErrorKind::kInvalidArgument, "{} gates given; expected one for each of {} units",
                request.gates.size(), units);
  for (const double gate : request.gates)
    if (!(gate >= 0 && gate <= 1))
      return fail(ErrorKind::kInvalidArgument, "a gate is {}; expected 0 to 1", gate);
  STRATA_CHECK(request.loss == PassLoss::kNll || request.teacher != nullptr);
  STRATA_CHECK(request.weights == nullptr ||
               (request.loss == PassLoss::kNll && !attention.kept_from_teacher));
  Pass pass(model.model(), attention, request);
  RETURN_IF_ERROR(check_request(model, pass, request));
  return translated([&]() -> Result<GatedGradient> {
    const Stopwatch watch;
    GatedGradient result = pass.run(memory_bytes);
    Meter meter;
    pass.meter(meter, true);
    meter.seconds = watch.seconds();
    model.absorb(meter);
    return result;
  });
}

Result<TeacherRows> teacher_rows(MeteredModel& model, const GatedRequest& request) {
  const GatedAttention unmasked{.kept = FullAttention{}, .cheap = FullAttention{}};
  Pass pass(model.model(), unmasked, request);
  RETURN_IF_ERROR(check_request(model, pass, request));
  return translated([&]() -> Result<TeacherRows> {
    const Stopwatch watch;
    const at::Tensor top = pass.teacher_top();
    TeacherRows rows{std::make_shared<const TeacherRows::Impl>(TeacherRows::Impl{top}),
                     top.nbytes()};
    synchronize(model.model().decoder().options().device());
    Meter meter;
    pass.meter(meter, false);
    meter.seconds = watch.seconds();
    model.absorb(meter);
    return rows;
  });
}

}  // namespace strata
