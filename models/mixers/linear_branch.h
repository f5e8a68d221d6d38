// LayerBranch: the weights of one layer's linear-attention branch, and what it makes of the layer's
// normed input: the rows that the mixer adds to the residual stream (before any norm behind it).
//
//   q, k, v = x Wᵀ (+ bias)         as the layer's attention has them; k and v for each query head
//   q, k, v = SiLU(convolution)     gated_deltanet: of each channel (conv_width)
//   q, k    = RMSNorm a head        where the family has it; then RoPE as the layer has it
//   o       = the recurrence        of the kind (linear_attention.h), divided by √D
//   o       = RMSNorm a head        times sigmoid(x Gᵀ + bias)
//   out     = o Oᵀ (+ bias)
//
// Decays and write strengths:
//   lightning       λ_h = exp(−2^(−8 (h + 1) / H)), fixed (ALiBi's slopes)
//   gla             log α = logsigmoid(x Dᵀ Uᵀ + bias) / gate_divisor
//   gated_deltanet  log α = −exp(A) softplus(x aᵀ + shift), β = max_beta sigmoid(x bᵀ)
// That the convolution comes before norm and RoPE is inferred; the other choices are options of
// LinearBranchConfig.
//
// A softmax layer's sink logits have no counterpart and are left behind. Weights are float32, or
// float64 for a model in float64, which training needs, or what narrowed() makes of them to run a
// model in halves; what x is in does not matter, the output has its type.
//
// Legend: B sequences, N rows, C hidden size, H query heads, G KV heads, D head size, W taps. Const
// members are thread-safe while nothing writes to the weights. Which heads of a layer are linear
// under a plan, and how they join with the others, is models/decoder/linear_heads.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/decoder/weights.h"
#include "models/linear_cost.h"
#include "models/mixers/linear_attention.h"
#include "models/mixers/linear_branch_config.h"

namespace strata {

// Undefined tensors are parts that kind, options or family do not have.
struct BranchWeights {
  at::Tensor q, k, v, o;  // [H·D, C]; k and v [G·D, C] where not expanded; o [C, H·D]
  at::Tensor q_bias, k_bias, v_bias, o_bias;
  at::Tensor q_norm, k_norm;                       // [D], with what the family adds and multiplies
  at::Tensor gate, gate_bias;                      // [H·D, C], [H·D]
  at::Tensor out_norm;                             // [D]
  at::Tensor decay_down, decay_up, decay_bias;     // gla: [rank, C], [H·D, rank], [H·D]
  at::Tensor decay, decay_shift, decay_log, beta;  // gated_deltanet: [H, C], [H], [H], [H, C]
  at::Tensor q_conv, k_conv, v_conv;               // gated_deltanet: [channels, W]
  at::Tensor softmax_norm, head_gain;  // fusion=norm: [D] of softmax heads, [H] of all heads
};

struct BranchPart {
  std::string name;
  at::Tensor* tensor = nullptr;
  bool fusion = false;  // plays a part only where a layer has heads of both kinds
};

// Nothing writes into a state: a copy is a snapshot and assigning it back restores it. `clone` also
// has its own memory.
struct BranchState {
  LinearState state;
  ConvolutionState q, k, v;  // undefined where there is no convolution
  std::int64_t length = 0;   // tokens it has seen: the position of the next

  std::uint64_t bytes() const;  // for the whole batch
  BranchState clone() const;
};

struct BranchOutput {
  at::Tensor out_BNC;
  BranchState state;  // after the last row
};

// What heads read, behind norm and output gate, before o; in the branch's type.
struct BranchRead {
  at::Tensor heads_BNHD;
  BranchState state;  // after the last row
};

class LayerBranch {
 public:
  // The start of a conversion: q, k, v, o, their biases and norms are copies of the attention's
  // weights; convolutions only let a token through to SiLU; decays are start_decay, output gates
  // start_gate, write strengths max_beta / 2, whatever the input; the norms' weights are 1, heads'
  // gains start_gain.
  // The random weights (of gla) depend on seed and layer alone. No gradients are required yet.
  static LayerBranch initial(const Architecture& architecture, const Weights& model, int layer,
                             const LinearBranchConfig& config);

  const LinearBranchConfig& config() const { return config_; }
  int layer() const { return layer_; }
  BranchWeights& weights() { return weights_; }
  const BranchWeights& weights() const { return weights_; }
  // Every weight there is, by the names of checkpoints: those of flash-linear-attention's layers
  // (q_proj … o_proj, g_proj, o_norm, gk_proj.0 and .1, a_proj, b_proj, A_log, dt_bias, q_conv1d …;
  // its convolutions are [channels, 1, W]) behind "model.layers.3.linear_attn."; softmax_norm and
  // head_gain are strata's own. The pointers are into this object.
  std::vector<BranchPart> parts();

  BranchState make_state(std::int64_t batch) const;  // before the first token
  // Consecutive rows of each sequence, N ≥ 1, in chunks; autograd passes through.
  BranchOutput forward(const at::Tensor& x_BNC, const BranchState& state) const;
  BranchOutput step(const at::Tensor& x_B1C, const BranchState& state) const;  // one token

  // The two halves of the above: what its heads read, of rows from `first_out` on (all rows are
  // written to the state), and those rows through o. A single row is a step.
  BranchRead read(const at::Tensor& x_BNC, const BranchState& state,
                  std::int64_t first_out = 0) const;
  at::Tensor through_o(const at::Tensor& heads_BNHD) const;

  // Some of its heads (rising, of those of this branch) as a branch that does their work alone:
  // copies of their rows of the weights, through which autograd passes. Keys and values that heads
  // share stay shared. Without o's bias, which is the layer's, not a head's; without fusion.
  LayerBranch subset(std::span<const std::int64_t> heads) const;
  // A copy to run a model of halves with. States, convolutions and decays stay as wide as they are.
  LayerBranch narrowed(at::ScalarType type) const;
  std::int64_t heads() const { return heads_; }

  LinearSize size() const;
  // Of `rows` rows of one sequence from its first token on.
  BranchFlops flops(std::int64_t rows) const;

 private:
  LayerBranch() = default;
  at::ScalarType dtype() const { return weights_.q.scalar_type(); }
  at::ScalarType wide_type() const { return sum_type(dtype()); }
  at::Tensor turned(const at::Tensor& x_BHND, std::int64_t begin) const;
  LinearOutput mix(const at::Tensor& x_BNC, const at::Tensor& q_BHND, const at::Tensor& k_BHND,
                   const at::Tensor& v_BHND, const LinearState& state, bool one_token) const;
  BranchRead run(const at::Tensor& x_BNC, const BranchState& before, std::int64_t first_out,
                 bool one_token) const;

  LinearBranchConfig config_;
  int layer_ = 0;
  std::int64_t heads_ = 0, kv_heads_ = 0, head_dim_ = 0;
  double epsilon_ = 0, rotary_gain_ = 1;
  at::Tensor inverse_frequencies_;  // undefined: no positions
  at::Tensor log_decay_H_;          // lightning: of each head
  at::Tensor kv_of_head_H_;         // undefined: heads_ / kv_heads_ heads in a row share one
  BranchWeights weights_;
};

}  // namespace strata
