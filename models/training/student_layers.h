// Layers of a model under a plan over whole texts, run forward and back: the softmax layers of
// which attention is differentiated by attention_gradient.h, those of linear attention by autograd
// through their branch. A backward run computes its layer a second time, so that of a forward run
// nothing but the layers' inputs needs to be kept.
//
// Legend: B texts, N rows of all of them (text by text), C hidden size, H query heads, G KV heads,
// D head size. One thread's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/training/attention_gradient.h"
#include "models/training/weight_gradients.h"

namespace strata {

// Gradients of a student's weights, summed: of the branches of some layers and, where given, of
// all weights of the model.
class StudentGradients {
 public:
  // Zeros. The branches' weights (and the decoder's, where `all`) must be leaves that require
  // gradients; branches are those of the layers.
  StudentGradients(const Decoder& decoder, const std::vector<int>& layers, bool all);

  WeightGradients* weights() { return weights_ ? &*weights_ : nullptr; }
  const Tensors& branch_weights(int layer) const;  // none: no branch is trained there
  void add_branch(int layer, const Tensors& gradients);
  Tensors sums() const;  // of the model's weights, then of branches by layer; they share memory
  void clear();

 private:
  struct OfBranch {
    Tensors weights, sums;
  };
  std::optional<WeightGradients> weights_;
  std::map<int, OfBranch> branches_;
};

// Whether every layer of the plan can be run: heads of a layer are all linear or none is.
Status check_student_plan(const AttentionPlan& plan);
bool is_linear_layer(const AttentionPlan& plan, int layer);

class StudentLayers {
 public:
  // Of `batch` texts of `length` tokens, which are all prompt to the plan's rules. The decoder
  // outlives it and has the branches that the plan needs.
  StudentLayers(const Decoder& decoder, const AttentionPlan& plan, std::int64_t length,
                std::int64_t batch);

  at::Tensor forward(const at::Tensor& x_NC, int layer) const;
  // ∂ loss / ∂ x out of ∂ loss / ∂ output; adds what the layer's weights get to `sums`.
  at::Tensor backward(const at::Tensor& x_NC, int layer, const at::Tensor& d_out_NC,
                      StudentGradients& sums) const;

 private:
  // Heads of a layer that attend alike.
  struct Heads {
    PaletteEntry entry;
    at::Tensor query_index, kv_index;  // undefined = all
  };
  std::vector<Heads> heads_of(int layer) const;
  at::Tensor linear_layer(const at::Tensor& x_NC, int layer) const;
  Decoder::Projections project(const at::Tensor& x_NC, int layer) const;
  at::Tensor attend_heads(const Decoder::Projections& p, int layer) const;
  Tensors attention_backward(const Decoder::Projections& p, int layer,
                             const at::Tensor& d_mixed_NHD, StudentGradients& sums) const;
  const std::vector<QueryBlock>& blocks(const PaletteEntry& entry) const;

  const Decoder& decoder_;
  AttentionPlan plan_;
  std::shared_ptr<const BoundPlan> bound_;
  std::int64_t length_, batch_;
  mutable std::map<PaletteEntry, std::vector<QueryBlock>> blocks_;  // made on demand
};

}  // namespace strata
