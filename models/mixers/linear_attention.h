// Linear attention: what stands for the past is a matrix a head, whose size does not grow with the
// length. Three kinds, each in a chunked form (prefill and training) and as one step (decode).
//
// With S the state of a head (D_k × D_v: one row a key channel) and q, k, v columns, a token does
//   lightning       S ← λ S + k vᵀ
//                   λ fixed, one a head: Lightning Attention-2, arXiv 2401.04658, §3.2 (RetNet's
//                   recurrence).
//   gla             S ← diag(α) S + k vᵀ
//                   α ∈ (0, 1)^D_k of the token: arXiv 2312.06635, §4.1, recurrent form.
//   gated_deltanet  S ← α (I − β k kᵀ) S + β k vᵀ
//                   α, β ∈ (0, 1) of the token, q and k made unit vectors here: arXiv 2412.06464,
//                   Eq. 10, which keeps Sᵀ: S ← S (α (I − β k kᵀ)) + β v kᵀ.
// and then reads o = Sᵀ q. Decays and gates come as natural logarithms (≤ 0; −∞ forgets all). No
// kind scales q: the papers' recurrences do not. (Flash-linear-attention's kernels multiply q by
// 1/√D_k unless told otherwise, and so does HypeNet; o is linear in q, so whoever wants that scales
// o.) β up to 2, as HypeNet has it, is as good as β < 1.
//
// The chunked forms work on chunks of `chunk` rows: products of matrices within a chunk, the state
// from chunk to chunk. Any N ≥ 1; time is linear in it, and without gradients the working memory
// beside inputs and outputs is constant. Cutting a sequence anywhere and handing the state on
// changes nothing but rounding. No exponential of a positive number is taken, whatever the gates,
// and no sum of log gates is subtracted from another.
//
// Float64 inputs are summed in float64, all others in float32, and states are kept in that type;
// outputs have q's type, which k and v share. (Lightning's products of halves on a GPU, where no
// gradient is asked for, run on tensor cores: summed in float32, what lies between two products is
// rounded to halves.) No row sees a later one, to the bit, where all
// numbers are finite. Autograd passes through everything, states included.
//
// Legend: B sequences, H heads (as many of k and v as of q), N rows, K = D_k, V = D_v, C channels,
// W width. Pure functions of any floating dtype and device: nothing given is written to.
// Thread-safe. Shapes that do not fit are programmer errors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "models/linear_parts.h"

namespace strata {

// The type that inputs of a type are summed in, and states are kept in.
at::ScalarType sum_type(at::ScalarType inputs);

// What a sequence leaves behind. Nothing writes into a state, so a copy is a snapshot and assigning
// it back restores it; `clone` also has its own memory.
struct LinearState {
  at::Tensor s_BHKV;

  static LinearState zeros(std::int64_t batch, std::int64_t heads, std::int64_t key_size,
                           std::int64_t value_size, const at::TensorOptions& inputs);
  std::uint64_t bytes() const;  // for the whole batch
  LinearState clone() const { return {s_BHKV.clone()}; }
};

struct LinearOutput {
  at::Tensor out_BHNV;
  LinearState state;  // after the last row
};

LinearOutput lightning(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK, const at::Tensor& v_BHNV,
                       const at::Tensor& log_decay_H, const LinearState& state,
                       std::int64_t chunk = kLinearChunk);
LinearOutput lightning_step(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K,
                            const at::Tensor& v_BH1V, const at::Tensor& log_decay_H,
                            const LinearState& state);

// Within a chunk, rows meet as in §4.3 of the paper (secondary-level chunking), but down to single
// rows: see the source. A chunk of a power of two wastes nothing.
LinearOutput gla(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK, const at::Tensor& v_BHNV,
                 const at::Tensor& log_gate_BHNK, const LinearState& state,
                 std::int64_t chunk = kLinearChunk);
LinearOutput gla_step(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K, const at::Tensor& v_BH1V,
                      const at::Tensor& log_gate_BH1K, const LinearState& state);

// Unit vectors are x / √(Σx² + 10⁻⁶). The chunked form is the paper's §3.3: the WY representation
// by the UT transform.
LinearOutput gated_deltanet(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK,
                            const at::Tensor& v_BHNV, const at::Tensor& log_decay_BHN,
                            const at::Tensor& beta_BHN, const LinearState& state,
                            std::int64_t chunk = kLinearChunk);
LinearOutput gated_deltanet_step(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K,
                                 const at::Tensor& v_BH1V, const at::Tensor& log_decay_BH1,
                                 const at::Tensor& beta_BH1, const LinearState& state);

// The last W − 1 inputs of a short convolution, in the inputs' own type.
struct ConvolutionState {
  at::Tensor tail_BWC;

  static ConvolutionState zeros(std::int64_t batch, std::int64_t width, std::int64_t channels,
                                const at::TensorOptions& inputs);
  std::uint64_t bytes() const;
  ConvolutionState clone() const { return {tail_BWC.clone()}; }
};

struct ConvolutionOutput {
  at::Tensor out_BNC;
  ConvolutionState state;
};

// What Gated DeltaNet puts behind its q, k and v projections: a causal convolution of each channel
// by itself, then SiLU. y_t = SiLU(Σ_w weight_w x_{t − W + 1 + w}); the last tap meets the token
// itself. W is 4 in the paper. Any N ≥ 1, so also its own step.
ConvolutionOutput short_convolution(const at::Tensor& x_BNC, const at::Tensor& weight_CW,
                                    const ConvolutionState& state);

}  // namespace strata
