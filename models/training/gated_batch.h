// Gated passes of requests of one shape as one pass: the work behind gated_pass.h. Rows of the
// sequences stand one behind the other; each sequence has its own gates, loss and teacher.
//
// Legend: B sequences, N rows of all of them ([B, N, …]: of each), C hidden size, H query heads, G
// KV heads, D head size, V vocabulary. One thread's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/training/attention_gradient.h"
#include "models/training/gated_pass.h"
#include "models/training/weight_gradients.h"

namespace strata {

// What a layer must remember for its backward half.
struct LayerTape {
  at::Tensor x_NC;                   // leaf
  Decoder::Projections projections;  // depend on x
  at::Tensor mixed_NHD;              // leaf
  at::Tensor out_NC;                 // depends on x and mixed; of separate layers on neither
  at::Tensor loss_B;                 // of kAlignment: the layer's own, depends on mixed (and x)
  at::Tensor kept_minus_cheap_NHD;
  // Where the cheap mixer is linear attention, in place of mixed and the difference: what heads of
  // either give; the same times g and 1 − g, which are leaves; what their sum is behind each one's
  // own o.
  at::Tensor kept_NHD, cheap_NHD;  // cheap depends on x; kept passes by for a teacher's stream too
  at::Tensor kept_share_NHD, cheap_share_NHD;
  at::Tensor mixer_out_NC;  // depends on the shares
};

// At least one request, all of equal lengths, loss, alignment, scored and weights, checked; they
// must outlive it.
class GatedBatch {
 public:
  GatedBatch(const Model& model, const GatedAttention& attention,
             std::span<const GatedRequest> requests);

  std::vector<GatedGradient> run(const PassLimits& limits);  // all of it in one pass
  std::vector<TeacherRows> teacher_rows();                   // under `kept`
  // What run (or teacher_rows) computed: of all prompts, each counted as if it were alone.
  Meter meter(bool gradient) const;

 private:
  int layers() const { return shape_.heads.layers; }
  std::int64_t batch() const { return static_cast<std::int64_t>(requests_.size()); }
  std::int64_t scored() const { return chunk_.end - chunk_.first_read; }
  PaletteEntry kept() const { return {attention_.kept, DecodeRule::kSame}; }
  PaletteEntry cheap() const { return {attention_.cheap, attention_.rule}; }
  std::int64_t out_begin(int layer) const { return layer + 1 == layers() ? chunk_.first_read : 0; }
  // Tokens [begin, begin + count) of each sequence.
  at::Tensor tokens(std::int64_t begin, std::int64_t count) const;
  at::Tensor input() const;
  at::Tensor by_sequence(const at::Tensor& x_N) const {
    return x_N.unflatten(0, {batch(), x_N.size(0) / batch()});
  }
  at::Tensor heads_first(const at::Tensor& x_NHD) const {
    return by_sequence(x_NHD).transpose(1, 2);
  }
  at::Tensor leaving(const at::Tensor& x_NC, int layer) const;
  bool teacher_stream() const {  // beside the mixed one
    return attention_.kept_from_teacher && !attention_.separate_layers;
  }
  bool aligns() const { return first_.loss == PassLoss::kAlignment; }
  at::Tensor scored_rows(const at::Tensor& x_NC) const;
  bool linear() const { return std::holds_alternative<LinearAttention>(attention_.cheap); }
  const LayerBranch& branch(int layer) const { return *decoder_.branch(layer); }
  // What kAlignment compares, of the scored rows, which mixer_out holds; x holds the rows that
  // enter the layer.
  at::Tensor aligned(const at::Tensor& x_NC, const at::Tensor& mixer_out_NC, int layer) const;
  at::Tensor alignment_loss(const at::Tensor& aligned_NC, int layer) const;
  Decoder::Projections project(const at::Tensor& x_NC, int layer) const;
  at::Tensor attend_by(const Decoder::Projections& p, int layer, const PaletteEntry& entry) const;
  // One gate a sequence and query head, float32 at least, [layers, B, 1, H, 1]: copied to the
  // device once, since a copy waits for all that is queued there.
  at::Tensor gates_by_head() const;
  at::Tensor gates_of(int layer) const { return gates_LB1H1_.select(0, layer); }
  LayerTape forward(const at::Tensor& x_NC, const at::Tensor& teacher_x_NC, int layer,
                    bool record) const;
  // Returns ∂ loss/∂ x, undefined for separate layers, and sets the gradient of the layer's gates,
  // by query head.
  at::Tensor backward(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                      at::Tensor& d_gate_BH) const;
  // ∂ loss/∂ leaves of what lies behind a layer's mixers, and behind them ∂ loss/∂ x where layers
  // are not separate.
  Tensors through_upper_half(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                             Tensors leaves) const;
  // ∂ loss/∂ (q, k, v), of what heads give under the kept and the cheap mixer (undefined: nothing);
  // adds that of sink logits to the weights'.
  Tensors through_attention(const Decoder::Projections& p, int layer, const at::Tensor& d_kept_BNHD,
                            const at::Tensor& d_cheap_BNHD) const;
  // The same halves where the cheap mixer is linear attention, which has an o of its own
  // (gated_linear.cc).
  LayerTape forward_linear(const at::Tensor& x_NC, const at::Tensor& teacher_x_NC, int layer,
                           bool record) const;
  at::Tensor backward_linear(const LayerTape& tape, int layer, const at::Tensor& d_out_NC,
                             at::Tensor& d_gate_BH) const;
  at::Tensor sum_of_shares(const LayerTape& tape, int layer) const;
  at::Tensor closed(int layer) const;  // [B, units of the layer]
  at::Tensor bias_gradient(const at::Tensor& d_out_NC, int layer) const;
  const at::Tensor& o_bias(int layer) const;  // of the model's own; undefined where it has none
  // On the device: read when everything is queued.
  struct Loss {
    at::Tensor loss_B, nll_N, d_top_NC;
  };
  Loss loss_and_gradient(const at::Tensor& top_NC, std::int64_t logits) const;
  // FLOPs of what the cheap mixer adds to a pass over the first `count` layers of one sequence.
  struct CheapFlops {
    double forward = 0, backward = 0;
  };
  CheapFlops cheap_flops(int count) const;
  CheapFlops branch_flops(int count) const;  // of linear attention
  double projection_flops() const;           // q, k and v of all layers
  AttentionPlan plan(bool keeps) const;
  const Decoder& decoder_;
  const ModelShape& shape_;
  const GatedAttention& attention_;
  std::span<const GatedRequest> requests_;
  const GatedRequest& first_;
  at::Device device_;
  Chunk chunk_;  // of each sequence
  int kept_tapes_ = 0;
  at::Tensor gates_LB1H1_;
  std::vector<QueryBlock> kept_blocks_, cheap_blocks_, top_kept_blocks_, top_cheap_blocks_;
};

}  // namespace strata
