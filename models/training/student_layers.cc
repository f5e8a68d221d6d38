#include "models/training/student_layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

#include "core/result.h"
#include "models/decoder/linear_heads.h"

namespace strata {

std::vector<BranchPart> trained_parts(const AttentionPlan& plan, LayerBranch& branch) {
  const std::size_t linear = linear_heads_of(plan, branch.layer()).size();
  std::vector<BranchPart> parts;
  if (linear == 0) return parts;
  const bool joins = linear < static_cast<std::size_t>(plan.layout().query_heads);
  for (BranchPart& part : branch.parts())
    if (joins || !part.fusion) parts.push_back(std::move(part));
  return parts;
}

StudentGradients::StudentGradients(const Decoder& decoder, const AttentionPlan& plan, bool all) {
  if (all) weights_.emplace(decoder);
  for (LayerBranch branch : decoder.branches())  // handles of the same tensors
    for (const BranchPart& part : trained_parts(plan, branch)) {
      STRATA_CHECK(part.tensor->requires_grad(), "{} requires no gradient", part.name);
      OfBranch& here = branches_[branch.layer()];
      here.weights.push_back(*part.tensor);
      here.sums.push_back(at::zeros_like(part.tensor->detach()));
    }
}

const Tensors& StudentGradients::branch_weights(int layer) const {
  static const Tensors kNone;
  const auto here = branches_.find(layer);
  return here == branches_.end() ? kNone : here->second.weights;
}

void StudentGradients::add_branch(int layer, std::span<const at::Tensor> gradients) {
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
    : decoder_(decoder), length_(length), batch_(batch) {
  const at::AutoGradMode mode(true);  // rows of mixed layers are picked here
  bound_ = decoder.bind(plan, BranchUse::kTrain);
}

at::Tensor StudentLayers::run(const at::Tensor& x_NC, int layer) const {
  Segment segment{.chunk = {.begin = 0,
                            .end = length_,
                            .prompt_length = length_,
                            .first_read = 0,
                            .retain = false},
                  .plan = bound_,
                  .state = nullptr,
                  .rows = {{0, 0}},
                  .batch = batch_};
  return decoder_.run_layers(x_NC, layer, layer + 1, std::span(&segment, 1));
}

at::Tensor StudentLayers::forward(const at::Tensor& x_NC, int layer) const {
  const at::NoGradGuard no_grad;
  return run(x_NC, layer);
}

at::Tensor StudentLayers::backward(const at::Tensor& x_NC, int layer, const at::Tensor& d_out_NC,
                                   StudentGradients& sums) const {
  const at::AutoGradMode mode(true);
  const Tensors& of_branch = sums.branch_weights(layer);
  Tensors inputs = {x_NC.detach().requires_grad_(true)};
  inputs.insert(inputs.end(), of_branch.begin(), of_branch.end());
  if (WeightGradients* weights = sums.weights(); weights != nullptr)
    inputs.insert(inputs.end(), weights->weights(layer).begin(), weights->weights(layer).end());
  // Not every weight has a part: those of attention in a linear layer, a branch's bias in a mixed.
  const Tensors d = torch::autograd::grad({run(inputs[0], layer)}, inputs, {d_out_NC}, std::nullopt,
                                          /*create_graph=*/false, /*allow_unused=*/true);
  const std::span<const at::Tensor> of_weights = std::span(d).subspan(1);
  if (!of_branch.empty()) sums.add_branch(layer, of_weights.first(of_branch.size()));
  if (sums.weights() != nullptr) sums.weights()->add(layer, of_weights.subspan(of_branch.size()));
  return d[0];
}

}  // namespace strata
