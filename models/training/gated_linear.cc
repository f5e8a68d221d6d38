// GatedBatch where the cheap mixer is linear attention. A branch (models/mixers/linear_branch.h)
// has an o of its own, so that what is mixed is what leaves the mixers, before any norm behind
// them:
//
//   out = Σ_h g_h · O_h kept_h + (1 − g_h) · O'_h linear_h,
//
// and biases as the decoder has them where gates are 0 or 1: the branch's where every unit of the
// layer is shut, else the model's, that is b + (b' − b) Π_u (1 − g_u). Heads enter as leaves that
// hold g kept and (1 − g) linear: what reaches such a leaf, d, makes g · d for the heads below and
// Σ d · kept − Σ d' · linear for the gate. Autograd goes through the branch alone; its working
// memory is that of a layer's tape.
#include <ATen/TensorOperators.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "models/cost.h"
#include "models/linear_cost.h"
#include "models/mixers/linear_branch.h"
#include "models/training/gated_batch.h"

namespace strata {

LayerTape GatedBatch::forward_linear(const at::Tensor& x_NC, const at::Tensor& teacher_x_NC,
                                     int layer, bool record) const {
  const at::AutoGradMode mode(record);
  const bool separate = attention_.separate_layers;
  LayerTape tape;
  tape.x_NC = record && !separate ? x_NC.detach().requires_grad_(true) : x_NC;
  if (!teacher_x_NC.defined()) tape.projections = project(tape.x_NC, layer);
  const LayerBranch& linear_branch = branch(layer);
  // Every row is written to the state, whoever reads it. Separate layers read what is compared.
  const std::int64_t first_read = separate ? chunk_.first_read : out_begin(layer);
  {
    const at::AutoGradMode through_branch(record && !separate);
    tape.cheap_NHD = linear_branch
                         .read(by_sequence(decoder_.mixer_input(tape.x_NC, layer)),
                               linear_branch.make_state(batch()), first_read)
                         .heads_BNHD.flatten(0, 1);
  }
  {
    const at::NoGradGuard no_grad;
    const at::Tensor kept_NHD = attend_by(
        teacher_x_NC.defined() ? project(teacher_x_NC, layer) : tape.projections, layer, kept());
    if (separate) tape.out_NC = decoder_.close_layer(leaving(x_NC, layer), kept_NHD, layer);
    tape.kept_NHD = separate ? scored_rows(kept_NHD) : kept_NHD;
    const at::Tensor gate_B1H1 = gates_of(layer);
    const auto share = [&](const at::Tensor& x_NHD, const at::Tensor& part_B1H1) {
      return (by_sequence(x_NHD.detach()).to(part_B1H1.scalar_type()) * part_B1H1)
          .to(x_NHD.scalar_type())
          .flatten(0, 1);
    };
    tape.kept_share_NHD = share(tape.kept_NHD, gate_B1H1);
    tape.cheap_share_NHD = share(tape.cheap_NHD, 1 - gate_B1H1);
  }
  tape.kept_share_NHD.requires_grad_(record);
  tape.cheap_share_NHD.requires_grad_(record);
  tape.mixer_out_NC = sum_of_shares(tape, layer);
  if (aligns())
    tape.loss_B = alignment_loss(aligned(tape.x_NC, scored_rows(tape.mixer_out_NC), layer), layer);
  if (!separate)
    tape.out_NC = decoder_.finish_layer(leaving(tape.x_NC, layer), tape.mixer_out_NC, layer);
  return tape;
}

// Exact where all gates are 0 or all are 1: the other sum is then 0, its bias taken off again.
at::Tensor GatedBatch::sum_of_shares(const LayerTape& tape, int layer) const {
  const auto wide = gates_LB1H1_.scalar_type();
  const at::Tensor closed_B11 = closed(layer).prod(1).view({-1, 1, 1});
  const auto without = [&](const at::Tensor& out_BNC, const at::Tensor& bias_C,
                           const at::Tensor& part_B11) {
    return bias_C.defined() ? out_BNC.to(wide) - part_B11 * bias_C.to(wide) : out_BNC.to(wide);
  };
  const at::Tensor kept_BNC = without(by_sequence(decoder_.through_o(tape.kept_share_NHD, layer)),
                                      o_bias(layer), closed_B11);
  const LayerBranch& linear_branch = branch(layer);
  const at::Tensor cheap_BNC = without(linear_branch.through_o(by_sequence(tape.cheap_share_NHD)),
                                       linear_branch.weights().o_bias, 1 - closed_B11);
  return (kept_BNC + cheap_BNC).flatten(0, 1).to(tape.kept_NHD.scalar_type());
}

// How far the gate of each unit of a layer is shut.
at::Tensor GatedBatch::closed(int layer) const {
  const std::int64_t units = shape_.heads.units_per_layer(attention_.granularity);
  return 1 - gates_of(layer).view({batch(), units, -1}).select(2, 0);
}

// Of units by what the biases add: (b' − b) Π (1 − g).
at::Tensor GatedBatch::bias_gradient(const at::Tensor& d_out_NC, int layer) const {
  const at::Tensor closed_BU = closed(layer);
  const std::int64_t units = closed_BU.size(1);
  const at::Tensor others_BU =
      closed_BU.unsqueeze(1)
          .expand({-1, units, -1})
          .masked_fill(at::eye(units, closed_BU.options()).to(at::kBool), 1)
          .prod(2);
  at::Tensor slope_B = at::zeros({batch()}, closed_BU.options());
  const at::Tensor d_BC = by_sequence(d_out_NC).to(closed_BU.scalar_type()).sum(1);
  if (const at::Tensor& bias_C = o_bias(layer); bias_C.defined())
    slope_B = slope_B + (d_BC * bias_C).sum(1);
  if (const at::Tensor& bias_C = branch(layer).weights().o_bias; bias_C.defined())
    slope_B = slope_B - (d_BC * bias_C).sum(1);
  return slope_B.unsqueeze(1) * others_BU;
}

at::Tensor GatedBatch::backward_linear(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                                       at::Tensor& d_gate_BH) const {
  const Tensors upper = through_upper_half(
      tape, layer, d_out_NC, {tape.kept_share_NHD, tape.cheap_share_NHD, tape.mixer_out_NC});
  const at::NoGradGuard no_grad;
  const at::Tensor gate_B1H1 = gates_of(layer);
  const auto wide = gate_B1H1.scalar_type();
  const at::Tensor d_kept_BNHD = by_sequence(upper[0]).to(wide);
  const at::Tensor d_cheap_BNHD = by_sequence(upper[1]).to(wide);
  const auto by_head = [&](const at::Tensor& d_BNHD, const at::Tensor& x_NHD) {
    return (d_BNHD * by_sequence(x_NHD)).sum(at::IntArrayRef({1, 3}), false, at::kDouble);
  };
  d_gate_BH = by_head(d_kept_BNHD, tape.kept_NHD) - by_head(d_cheap_BNHD, tape.cheap_NHD);
  if (o_bias(layer).defined() || branch(layer).weights().o_bias.defined()) {
    const at::Tensor of_unit_BU = bias_gradient(upper[2], layer);
    const std::int64_t heads = d_gate_BH.size(1) / of_unit_BU.size(1);
    d_gate_BH = d_gate_BH + of_unit_BU.repeat_interleave(heads, 1) / static_cast<double>(heads);
  }
  if (attention_.separate_layers) return {};
  Tensors outputs = {tape.cheap_NHD};
  Tensors d_outputs = {
      (d_cheap_BNHD * (1 - gate_B1H1)).flatten(0, 1).to(tape.cheap_NHD.scalar_type())};
  if (!teacher_stream()) {
    const Decoder::Projections& p = tape.projections;
    outputs.insert(outputs.end(), {p.q_NHD, p.k_NGD, p.v_NGD});
    const Tensors d_qkv = through_attention(p, layer, d_kept_BNHD * gate_B1H1, {});
    d_outputs.insert(d_outputs.end(), d_qkv.begin(), d_qkv.end());
  }
  return upper[3] + differentiate(outputs, {tape.x_NC}, d_outputs, nullptr, layer)[0];
}

const at::Tensor& GatedBatch::o_bias(int layer) const {
  return decoder_.weights().layers[static_cast<std::size_t>(layer)].o_bias;
}

// Backward as much as forward where a weight is multiplied, twice as much in the recurrence. Of
// separate layers, what is compared goes through o elsewhere (GatedBatch::meter).
GatedBatch::CheapFlops GatedBatch::branch_flops(int count) const {
  CheapFlops sum;
  for (int layer = 0; layer < count; ++layer) {
    const bool separate = attention_.separate_layers;
    const std::int64_t all = chunk_.end, read = separate ? scored() : all - out_begin(layer);
    const LinearSize size = branch(layer).size();
    const BranchFlops leaving = leaving_flops(size);
    const double recurrence =
        static_cast<double>(size.heads) * recurrence_flops(size.parts, size.head_dim, 0, all, all);
    const double forward = static_cast<double>(all) * entering_flops(size).total() +
                           static_cast<double>(read) * leaving.from_input +
                           (separate ? 0 : static_cast<double>(read) * leaving.behind) + recurrence;
    sum.forward += forward;
    sum.backward += forward + recurrence;
  }
  return sum;
}

double GatedBatch::projection_flops() const {
  const RowFlops row = row_flops(shape_);
  double flops = 0;
  for (int layer = 0; layer < layers(); ++layer)
    flops += static_cast<double>(chunk_.end) * row.kv +
             static_cast<double>(chunk_.end - out_begin(layer)) * row.q;
  return flops;
}

}  // namespace strata
