// LinearHeads: the linear heads of one layer under a plan, compiled from its branch, and how they
// join with heads of softmax attention in the same layer.
//
// A layer whose heads are all linear adds what its branch makes of the normed input; nothing of its
// attention is computed. Where only some heads are linear, their weights and those of the others
// are picked once, here, so that no work is done for heads that nobody reads:
//   out = Σ_{softmax h} M_h O_h + Σ_{linear h} B_h O′_h + b
// with M_h the model's own columns of o, B_h the branch's, and b the model's bias of o (that the
// branch's has no part in a layer of both kinds is inferred). With fusion=norm (HydraHead, arXiv
// 2606.20097, Eq. 13–14) γ_h RMSNorm(O_h) is in the place of O_h and γ_h O′_h in that of O′_h,
// which the branch has normed by itself (output_norm). Layers of one kind of head never see fusion.
//
// Immutable; thread-safe while nothing writes to the weights. What was picked is copied: bind again
// after a training step. Autograd passes through it where the plan was bound in gradient mode.
//
// Legend: N rows, C hidden size, H heads, D head size.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/plan.h"
#include "models/decoder/weights.h"
#include "models/mixers/linear_branch.h"

namespace strata {

// Heads of softmax attention beside linear ones.
struct SoftmaxHeads {
  LayerWeights weights;  // the layer's, but q, k, v, o, biases and sink logits of these heads alone
  at::Tensor index, linear_index;  // kLong: which of the layer's heads are these, and the linear
  at::Tensor place;                // of each of the layer's heads in these, then the linear ones
  // Undefined without fusion: [D]; [H, 1] of these and of the linear heads.
  at::Tensor norm, gain, linear_gain;
};

struct LinearHeads {
  LayerBranch branch;                   // of the linear heads alone
  std::optional<SoftmaxHeads> softmax;  // none: every head is linear
  double epsilon = 0;                   // of RMSNorm

  // What each head gives to o, by heads' outputs as attention and branch make them. `softmax_NHD`
  // stays undefined where there is none.
  struct Outputs {
    at::Tensor softmax_NHD;  // in the model's type
    at::Tensor linear_NHD;   // in the branch's
  };
  Outputs fused(Outputs outputs) const;
  // All of them in the layer's order of heads, in the branch's type; and back.
  at::Tensor joined(const Outputs& outputs) const;
  Outputs parted(const at::Tensor& joined_NHD, at::ScalarType model_type) const;
  // Through o: the mixer's output, in the model's type.
  at::Tensor mixer_out(const Outputs& outputs, at::ScalarType model_type) const;
};

// Query heads of a layer that are linear under a plan, rising.
std::vector<std::int64_t> linear_heads_of(const AttentionPlan& plan, int layer);

// For a layer with at least one of them; `branch` is of their kind (checked).
LinearHeads bind_linear(const AttentionPlan& plan, int layer, const LayerBranch& branch,
                        const LayerWeights& weights, double epsilon);

}  // namespace strata
