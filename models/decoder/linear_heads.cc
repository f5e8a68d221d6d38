#include "models/decoder/linear_heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "core/result.h"
#include "models/mixers/head_slices.h"

namespace strata {
namespace {

std::optional<at::Tensor> optional_tensor(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

SoftmaxHeads pick_softmax(const HeadLayout& layout, std::span<const std::int64_t> linear,
                          const LayerBranch& branch, const LayerWeights& from) {
  const int group = layout.query_heads / layout.kv_heads;
  std::vector<std::int64_t> heads, kv_heads, place(static_cast<std::size_t>(layout.query_heads));
  for (std::int64_t head = 0; head < layout.query_heads; ++head) {
    if (std::find(linear.begin(), linear.end(), head) != linear.end()) continue;
    place[static_cast<std::size_t>(head)] = std::ssize(heads);
    heads.push_back(head);
    if (kv_heads.empty() || kv_heads.back() != head / group) kv_heads.push_back(head / group);
  }
  for (std::size_t i = 0; i < linear.size(); ++i)
    place[static_cast<std::size_t>(linear[i])] = std::ssize(heads) + static_cast<std::int64_t>(i);
  const auto index = [&](const std::vector<std::int64_t>& list) {
    return at::tensor(list, at::kLong).to(from.q.device());
  };
  SoftmaxHeads softmax{.weights = from,
                       .index = index(heads),
                       .linear_index = index({linear.begin(), linear.end()}),
                       .place = index(place),
                       .norm = branch.weights().softmax_norm,
                       .gain = {},
                       .linear_gain = {}};
  const std::int64_t width = from.q.size(0) / layout.query_heads;
  const at::Tensor of_kv = index(kv_heads);
  LayerWeights& w = softmax.weights;
  for (at::Tensor* part : {&w.q, &w.q_bias}) *part = head_slices(*part, softmax.index, width);
  for (at::Tensor* part : {&w.k, &w.v, &w.k_bias, &w.v_bias})
    *part = head_slices(*part, of_kv, width);
  w.o = head_slices(w.o, softmax.index, width, /*dimension=*/1);
  w.sink_logits = head_slices(w.sink_logits, softmax.index, 1);
  if (const at::Tensor& gain_H = branch.weights().head_gain; gain_H.defined()) {
    softmax.gain = gain_H.index_select(0, softmax.index).unsqueeze(1);
    softmax.linear_gain = gain_H.index_select(0, softmax.linear_index).unsqueeze(1);
  }
  return softmax;
}

}  // namespace

LinearHeads::Outputs LinearHeads::fused(Outputs outputs) const {
  if (!softmax || !softmax->norm.defined()) return outputs;
  const at::Tensor wide_NHD = outputs.softmax_NHD.to(softmax->norm.scalar_type());
  const at::Tensor normed_NHD =
      at::rms_norm(wide_NHD, {wide_NHD.size(2)}, softmax->norm, epsilon) * softmax->gain;
  return {normed_NHD.to(outputs.softmax_NHD.scalar_type()),
          outputs.linear_NHD * softmax->linear_gain};
}

at::Tensor LinearHeads::joined(const Outputs& outputs) const {
  if (!softmax) return outputs.linear_NHD;
  const at::Tensor wide_NHD = outputs.softmax_NHD.to(outputs.linear_NHD.scalar_type());
  return at::cat({wide_NHD, outputs.linear_NHD}, 1).index_select(1, softmax->place);
}

LinearHeads::Outputs LinearHeads::parted(const at::Tensor& joined_NHD,
                                         at::ScalarType model_type) const {
  const at::Tensor wide_NHD = joined_NHD.to(branch.weights().o.scalar_type());
  if (!softmax) return {{}, wide_NHD};
  return {wide_NHD.index_select(1, softmax->index).to(model_type),
          wide_NHD.index_select(1, softmax->linear_index)};
}

at::Tensor LinearHeads::mixer_out(const Outputs& outputs, at::ScalarType model_type) const {
  const at::Tensor linear_NC = branch.through_o(outputs.linear_NHD.unsqueeze(0)).squeeze(0);
  if (!softmax) return linear_NC.to(model_type);
  const at::Tensor softmax_NC = at::linear(outputs.softmax_NHD.flatten(1), softmax->weights.o,
                                           optional_tensor(softmax->weights.o_bias));
  return (softmax_NC.to(linear_NC.scalar_type()) + linear_NC).to(model_type);
}

std::vector<std::int64_t> linear_heads_of(const AttentionPlan& plan, int layer) {
  std::vector<std::int64_t> heads;
  for (int head = 0; head < plan.layout().query_heads; ++head)
    if (std::holds_alternative<LinearAttention>(plan.entry(layer, head).mixer))
      heads.push_back(head);
  return heads;
}

LinearHeads bind_linear(const AttentionPlan& plan, int layer, const LayerBranch& branch,
                        const LayerWeights& weights, double epsilon) {
  const std::vector<std::int64_t> heads = linear_heads_of(plan, layer);
  for (const std::int64_t head : heads)
    STRATA_CHECK(std::get<LinearAttention>(plan.entry(layer, static_cast<int>(head)).mixer).kind ==
                     branch.config().kind,
                 "layer {}", layer);
  if (std::ssize(heads) == plan.layout().query_heads)
    return {.branch = branch, .softmax = {}, .epsilon = epsilon};
  return {.branch = branch.subset(heads),
          .softmax = pick_softmax(plan.layout(), heads, branch, weights),
          .epsilon = epsilon};
}

}  // namespace strata
