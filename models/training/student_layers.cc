#include "models/training/student_layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <utility>

#include "core/result.h"
#include "models/mixers/attention.h"

namespace strata {
namespace {

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(true); }

at::Tensor heads_of_index(const at::Tensor& x_BHND, const at::Tensor& index) {
  return index.defined() ? x_BHND.index_select(1, index) : x_BHND;
}

bool is_linear(const AttentionPlan& plan, int layer, int head) {
  return std::holds_alternative<LinearAttention>(plan.entry(layer, head).mixer);
}

}  // namespace

Status check_student_plan(const AttentionPlan& plan) {
  for (int layer = 0; layer < plan.layout().layers; ++layer)
    for (int head = 1; head < plan.layout().query_heads; ++head)
      if (is_linear(plan, layer, head) != is_linear(plan, layer, 0))
        return fail(make_error(ErrorKind::kUnsupported,
                               "layer {} has heads of softmax and of linear attention; expected "
                               "one of them in a layer that is trained",
                               layer)
                        .with_hint("granularity=layer"));
  return {};
}

bool is_linear_layer(const AttentionPlan& plan, int layer) { return is_linear(plan, layer, 0); }

StudentGradients::StudentGradients(const Decoder& decoder, const std::vector<int>& layers,
                                   bool all) {
  if (all) weights_.emplace(decoder);
  for (const int layer : layers) {
    STRATA_CHECK(decoder.branch(layer) != nullptr);
    LayerBranch handles = *decoder.branch(layer);  // of the same tensors
    OfBranch& here = branches_[layer];
    for (const BranchPart& part : handles.parts()) {
      STRATA_CHECK(part.tensor->requires_grad(), "{} requires no gradient", part.name);
      here.weights.push_back(*part.tensor);
      here.sums.push_back(at::zeros_like(part.tensor->detach()));
    }
  }
}

const Tensors& StudentGradients::branch_weights(int layer) const {
  static const Tensors kNone;
  const auto here = branches_.find(layer);
  return here == branches_.end() ? kNone : here->second.weights;
}

void StudentGradients::add_branch(int layer, const Tensors& gradients) {
  const at::NoGradGuard no_grad;
  const Tensors& sums = branches_.at(layer).sums;
  STRATA_CHECK(gradients.size() == sums.size());
  for (std::size_t i = 0; i < sums.size(); ++i)
    if (gradients[i].defined()) sums[i].add_(gradients[i]);
}

Tensors StudentGradients::sums() const {
  Tensors all;
  if (weights_) all.assign(weights_->sums().begin(), weights_->sums().end());
  for (const auto& [layer, branch] : branches_)
    all.insert(all.end(), branch.sums.begin(), branch.sums.end());
  return all;
}

void StudentGradients::clear() {
  if (weights_) weights_->clear();
  for (const auto& [layer, branch] : branches_)
    for (const at::Tensor& sum : branch.sums) sum.zero_();
}

StudentLayers::StudentLayers(const Decoder& decoder, const AttentionPlan& plan, std::int64_t length,
                             std::int64_t batch)
    : decoder_(decoder), plan_(plan), bound_(decoder.bind(plan)), length_(length), batch_(batch) {}

const std::vector<QueryBlock>& StudentLayers::blocks(const PaletteEntry& entry) const {
  const auto place = blocks_.find(entry);
  if (place != blocks_.end()) return place->second;
  return blocks_[entry] = query_blocks(entry, 0, length_, length_, decoder_.options().device());
}

std::vector<StudentLayers::Heads> StudentLayers::heads_of(int layer) const {
  const BoundLayer& bound = bound_->layer(layer);
  std::vector<Heads> all;
  for (const HeadGroup& group : bound.groups) {
    const at::Tensor& of_store = bound.stores[group.store].kv_index;
    at::Tensor kv = of_store;
    if (group.kv_in_store.defined())
      kv = of_store.defined() ? of_store.index_select(0, group.kv_in_store) : group.kv_in_store;
    all.push_back({group.entry, group.query_index, kv});
  }
  return all;
}

at::Tensor StudentLayers::linear_layer(const at::Tensor& x_NC, int layer) const {
  const LayerBranch& branch = *decoder_.branch(layer);
  const at::Tensor in_BNC = decoder_.mixer_input(x_NC, layer).unflatten(0, {batch_, length_});
  return decoder_.finish_layer(
      x_NC, branch.forward(in_BNC, branch.make_state(batch_)).out_BNC.flatten(0, 1), layer);
}

Decoder::Projections StudentLayers::project(const at::Tensor& x_NC, int layer) const {
  const Segment segment{.chunk = {.begin = 0,
                                  .end = length_,
                                  .prompt_length = length_,
                                  .first_read = 0,
                                  .retain = false},
                        .plan = bound_,
                        .state = nullptr,
                        .rows = {{0, 0}},
                        .batch = batch_};
  return decoder_.project(x_NC, layer, segment);
}

at::Tensor StudentLayers::attend_heads(const Decoder::Projections& p, int layer) const {
  const at::NoGradGuard no_grad;
  const auto heads_first = [&](const at::Tensor& x_NHD) {
    return x_NHD.detach().unflatten(0, {batch_, length_}).transpose(1, 2);
  };
  const at::Tensor mixed_NHD = at::empty_like(p.q_NHD, at::MemoryFormat::Contiguous);
  const at::Tensor all_q = heads_first(p.q_NHD), all_k = heads_first(p.k_NGD),
                   all_v = heads_first(p.v_NGD), mixed_BHND = heads_first(mixed_NHD);
  const at::Tensor& sink_logits = decoder_.sink_logits(layer);
  for (const Heads& heads : heads_of(layer)) {
    const at::Tensor q = heads_of_index(all_q, heads.query_index);
    const at::Tensor out =
        heads.query_index.defined() ? at::empty_like(q, at::MemoryFormat::Contiguous) : mixed_BHND;
    attend(
        q, 0,
        {{}, {}, heads_of_index(all_k, heads.kv_index), heads_of_index(all_v, heads.kv_index), 0},
        heads.entry, length_, out,
        sink_logits.defined() && heads.query_index.defined()
            ? sink_logits.index_select(0, heads.query_index)
            : sink_logits);
    if (heads.query_index.defined()) mixed_BHND.index_copy_(1, heads.query_index, out);
  }
  return mixed_NHD;
}

at::Tensor StudentLayers::forward(const at::Tensor& x_NC, int layer) const {
  const at::NoGradGuard no_grad;
  if (is_linear_layer(plan_, layer)) return linear_layer(x_NC, layer);
  return decoder_.close_layer(x_NC, attend_heads(project(x_NC, layer), layer), layer);
}

Tensors StudentLayers::attention_backward(const Decoder::Projections& p, int layer,
                                          const at::Tensor& d_mixed_NHD,
                                          StudentGradients& sums) const {
  const at::NoGradGuard no_grad;
  const bool is_double = p.q_NHD.scalar_type() == at::kDouble;
  const auto heads_first = [&](const at::Tensor& x_NHD) {
    return x_NHD.detach()
        .to(is_double ? at::kDouble : at::kFloat)
        .unflatten(0, {batch_, length_})
        .transpose(1, 2);
  };
  const at::Tensor all_q = heads_first(p.q_NHD), all_k = heads_first(p.k_NGD),
                   all_v = heads_first(p.v_NGD), all_d = heads_first(d_mixed_NHD);
  const at::Tensor d_q = at::zeros_like(all_q), d_k = at::zeros_like(all_k),
                   d_v = at::zeros_like(all_v);
  const at::Tensor& sink_logits = decoder_.sink_logits(layer);
  const bool has_sinks = sums.weights() != nullptr && sink_logits.defined();
  at::Tensor d_sinks;
  if (has_sinks) d_sinks = at::zeros({all_q.size(1)}, all_q.options());
  for (const Heads& heads : heads_of(layer)) {
    const auto pick = [&](const at::Tensor& x, const at::Tensor& index) {
      return heads_of_index(x, index);
    };
    const at::Tensor q = pick(all_q, heads.query_index), k = pick(all_k, heads.kv_index),
                     v = pick(all_v, heads.kv_index);
    at::Tensor sinks = sink_logits;
    if (sinks.defined())
      sinks = heads.query_index.defined() ? sinks.detach().index_select(0, heads.query_index)
                                          : sinks.detach();
    AttentionGradients sum{at::zeros_like(q), at::zeros_like(k), at::zeros_like(v), {}};
    if (has_sinks) sum.sink_logits_H = at::zeros({q.size(1)}, q.options());
    add_attention_gradients(q, k, v, blocks(heads.entry), sinks, pick(all_d, heads.query_index),
                            sum);
    const auto put = [](const at::Tensor& all, int dim, const at::Tensor& index,
                        const at::Tensor& part) {
      if (index.defined())
        all.index_add_(dim, index, part);
      else
        all.add_(part);
    };
    put(d_q, 1, heads.query_index, sum.q_BHND);
    put(d_k, 1, heads.kv_index, sum.k_BGMD);
    put(d_v, 1, heads.kv_index, sum.v_BGMD);
    if (has_sinks) put(d_sinks, 0, heads.query_index, sum.sink_logits_H);
  }
  if (has_sinks) sums.weights()->add_sink_logits(layer, d_sinks);
  const auto rows_first = [](const at::Tensor& d_BHND, const at::Tensor& like) {
    return d_BHND.transpose(1, 2).flatten(0, 1).to(like.scalar_type());
  };
  return {rows_first(d_q, p.q_NHD), rows_first(d_k, p.k_NGD), rows_first(d_v, p.v_NGD)};
}

at::Tensor StudentLayers::backward(const at::Tensor& x_NC, int layer, const at::Tensor& d_out_NC,
                                   StudentGradients& sums) const {
  const at::AutoGradMode mode(true);
  const at::Tensor x = leaf(x_NC);
  WeightGradients* const weights = sums.weights();
  if (is_linear_layer(plan_, layer)) {
    Tensors inputs = {x};
    const Tensors& of_branch = sums.branch_weights(layer);
    inputs.insert(inputs.end(), of_branch.begin(), of_branch.end());
    Tensors d = differentiate({linear_layer(x, layer)}, inputs, {d_out_NC}, weights, layer);
    if (!of_branch.empty()) sums.add_branch(layer, {d.begin() + 1, d.end()});
    return d[0];
  }
  const Decoder::Projections p = project(x, layer);
  const at::Tensor mixed_NHD = attend_heads(p, layer).requires_grad_(true);
  const Tensors upper = differentiate({decoder_.close_layer(x, mixed_NHD, layer)}, {mixed_NHD, x},
                                      {d_out_NC}, weights, layer);
  const Tensors lower = differentiate({p.q_NHD, p.k_NGD, p.v_NGD}, {x},
                                      attention_backward(p, layer, upper[0], sums), weights, layer);
  return upper[1] + lower[0];
}

}  // namespace strata
