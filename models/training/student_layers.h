// Layers of a model under a plan over whole texts, run forward and back. A backward run computes
// its layer a second time, so that of a forward run nothing but the layers' inputs needs to be
// kept.
//
// Legend: N rows of all texts (text by text), C hidden size. One thread's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/training/weight_gradients.h"

namespace strata {

// What a layer's branch trains under a plan: nothing where no head is linear; the parts that join
// it with softmax heads only where there are some. The tensors are those of the branch.
std::vector<BranchPart> trained_parts(const AttentionPlan& plan, LayerBranch& branch);

// Gradients of a student's weights, summed: of the branches that the plan needs and, where `all`,
// of all weights of the model.
class StudentGradients {
 public:
  // Zeros. What is trained must be leaves that require gradients.
  StudentGradients(const Decoder& decoder, const AttentionPlan& plan, bool all);

  WeightGradients* weights() { return weights_ ? &*weights_ : nullptr; }
  const Tensors& branch_weights(int layer) const;  // none: no branch is trained there
  void add_branch(int layer, std::span<const at::Tensor> gradients);
  Tensors sums() const;  // of the model's weights, then of branches by layer; they share memory
  void clear();

 private:
  struct OfBranch {
    Tensors weights, sums;
  };
  std::optional<WeightGradients> weights_;
  std::map<int, OfBranch> branches_;
};

class StudentLayers {
 public:
  // Of `batch` texts of `length` tokens, which are all prompt to the plan's rules, by the weights
  // as they are now. The decoder outlives it and has the branches that the plan needs.
  StudentLayers(const Decoder& decoder, const AttentionPlan& plan, std::int64_t length,
                std::int64_t batch);

  at::Tensor forward(const at::Tensor& x_NC, int layer) const;
  // ∂ loss / ∂ x out of ∂ loss / ∂ output; adds what the layer's weights get to `sums`. Once a
  // layer.
  at::Tensor backward(const at::Tensor& x_NC, int layer, const at::Tensor& d_out_NC,
                      StudentGradients& sums) const;

 private:
  at::Tensor run(const at::Tensor& x_NC, int layer) const;

  const Decoder& decoder_;
  std::shared_ptr<const BoundPlan> bound_;
  std::int64_t length_, batch_;
};

}  // namespace strata
