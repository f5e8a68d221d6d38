// Decoder: layers of a Llama-family transformer over packed rows of many sequences, each under its
// own plan.
//
// Rows of all segments stand one behind the other (no padding); linear layers see them all at once,
// attention sees one segment at a time: sequences of one length under one plan. Activation reuse,
// plans that share leading layers, and looped layer ranges are calls of run_layers. Immutable after
// construction: several threads may run it at once, each on its own states.
//
// Legend: N packed rows, C hidden size, H query heads, G KV heads, D head size, V vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "models/checkpoint/hf_config.h"
#include "models/decoder/bound_plan.h"
#include "models/decoder/hooks.h"
#include "models/decoder/weights.h"
#include "models/mixers/kv_store.h"
#include "models/mixers/linear_branch.h"
#include "models/mixers/linear_store.h"
#include "models/row_plan.h"

namespace strata {

// What a batch of sequences of one length remembers: the stores of each layer, of keys and of
// linear heads' states. A copy shares their memory.
struct BatchState {
  std::vector<std::vector<KvStore>> layers;
  std::vector<std::optional<LinearStore>> linear;  // [layer]; may be shorter where there is none
  std::int64_t length() const;
  std::uint64_t bytes() const;  // of the whole batch
  // See KvStore: some of the sequences, in the same memory.
  BatchState sequences(std::int64_t first, std::int64_t count) const;
  void advance(std::int64_t length);
};

// Consecutive tokens of a batch of sequences within the packed rows: sequence by sequence.
struct Segment {
  Chunk chunk;  // of each of them
  std::shared_ptr<const BoundPlan> plan;
  BatchState* state = nullptr;  // keys before the chunk; grows when chunk.retain, else is only read
  std::vector<LayerRows> rows;  // [i] = layer first_layer + i of the call
  std::int64_t batch = 1;       // sequences

  std::int64_t rows_in(std::size_t i) const { return batch * (chunk.end - rows[i].in_begin); }
  std::int64_t rows_out(std::size_t i) const { return batch * (chunk.end - rows[i].out_begin); }
};

// What a bound plan's linear branches are for: a model of halves runs on halves, but gradients need
// the weights themselves.
enum class BranchUse { kRun, kTrain };

class Decoder {
 public:
  // Linear branches (models/mixers/linear_branch.h) by rising layer, at most one a layer: what
  // cells of linear attention run on.
  Decoder(Architecture architecture, Weights weights, std::vector<LayerBranch> branches = {});

  const Architecture& architecture() const { return architecture_; }
  const Weights& weights() const { return weights_; }
  const LayerBranch* branch(int layer) const;  // null: the layer has none
  std::span<const LayerBranch> branches() const { return branches_; }
  at::TensorOptions options() const { return weights_.embedding.options(); }

  // The plan compiled for this model's weights and device: made once, shared by what runs under it.
  std::shared_ptr<const BoundPlan> bind(const AttentionPlan& plan,
                                        BranchUse use = BranchUse::kRun) const;
  BatchState make_state(const BoundPlan& plan, std::int64_t max_length,
                        std::int64_t batch = 1) const;

  at::Tensor embed(const at::Tensor& token_ids_N) const;
  // x holds rows [rows[0].in_begin, chunk.end) of each sequence of each segment, in order; returns
  // rows [rows.back().out_begin, end). A plan with linear heads comes from bind; without a state
  // its text begins with the chunk. Where gradients are recorded they reach x and every weight that
  // was used, in one pass over texts from their first token (no state).
  at::Tensor run_layers(at::Tensor x_NC, int first_layer, int end_layer,
                        std::span<Segment> segments, ForwardHooks* hooks = nullptr) const;
  // Final norm and LM head; float32 unless the weights are float64.
  at::Tensor logits(const at::Tensor& x_NC) const;
  at::Tensor final_norm(const at::Tensor& x_NC) const { return norm(x_NC, weights_.final_norm); }

  // A layer in two halves, for who mixes tokens in a way of their own between them (training). Both
  // record gradients where the grad mode is on.
  struct Projections {
    at::Tensor q_NHD, k_NGD, v_NGD;  // normed and turned; q of the rows that leave the layer
  };
  // x holds the rows that enter layer `layer`, which is segment.rows[0] of a single segment.
  Projections project(const at::Tensor& x_NC, int layer, const Segment& segment) const;
  // x and mixed hold the rows that leave the layer.
  at::Tensor close_layer(const at::Tensor& x_NC, const at::Tensor& mixed_NHD, int layer) const;
  // The same from the mixer's output on: what through_o or a branch makes, before any norm behind
  // it.
  at::Tensor finish_layer(const at::Tensor& x_NC, const at::Tensor& mixer_out_NC, int layer) const;
  // What the layer's mixer is given; the heads' outputs through o; what is made of that before it
  // is added to x (normed, where the family does that); the last two in a row.
  at::Tensor mixer_input(const at::Tensor& x_NC, int layer) const {
    return norm(x_NC, weights_.layers[static_cast<std::size_t>(layer)].input_norm);
  }
  at::Tensor through_o(const at::Tensor& mixed_NHD, int layer) const;
  at::Tensor added_to_stream(const at::Tensor& mixer_out_NC, int layer) const {
    const at::Tensor& weight = weights_.layers[static_cast<std::size_t>(layer)].mixer_out_norm;
    return weight.defined() ? norm(mixer_out_NC, weight) : mixer_out_NC;
  }
  at::Tensor mixer_output(const at::Tensor& mixed_NHD, int layer) const {
    return added_to_stream(through_o(mixed_NHD, layer), layer);
  }
  const at::Tensor& sink_logits(int layer) const {  // undefined where the family has none
    return weights_.layers[static_cast<std::size_t>(layer)].sink_logits;
  }

 private:
  // By position, up to the model's positions; undefined where no layer turns by it.
  struct RotaryTable {
    at::Tensor cos_PD, sin_PD;
  };
  RotaryTable rotary_table(const at::Tensor& inverse_frequencies, double gain) const;
  // Cosines and sines of the rows that enter and leave a layer.
  struct RotaryRows {
    at::Tensor in_cos_ND, in_sin_ND, out_cos_ND, out_sin_ND;
  };
  RotaryRows rotary_rows(const RotaryTable& table, std::span<const Segment> segments,
                         std::size_t row_index) const;
  // `rotary` is null for a layer without positions (NoPE).
  Projections project_rows(const at::Tensor& normed_NC, std::size_t row_index,
                           std::span<const Segment> segments, const LayerWeights& w,
                           const RotaryRows* rotary) const;
  at::Tensor close_rows(const at::Tensor& x_NC, const at::Tensor& mixer_out_NC, int layer,
                        ForwardHooks* hooks) const;
  at::Tensor run_layer(const at::Tensor& x_NC, int layer, std::size_t row_index,
                       std::span<Segment> segments, const RotaryRows* rotary,
                       ForwardHooks* hooks) const;
  // The heads' outputs of softmax attention under `w`, whose heads are those that the segments'
  // plans have take part in it. `normed_NC`: what the mixer is given, of the rows that enter.
  at::Tensor attention_heads(const at::Tensor& normed_NC, int layer, std::size_t row_index,
                             std::span<Segment> segments, const LayerWeights& w,
                             const RotaryRows* rotary, ForwardHooks* hooks) const;
  // The mixer's output, before any norm behind it, where some segment has linear heads. Undefined
  // where no row leaves.
  at::Tensor mix_with_linear(const at::Tensor& normed_NC, int layer, std::size_t row_index,
                             std::span<Segment> segments, const RotaryRows* rotary,
                             ForwardHooks* hooks) const;
  void attend_segment(const at::Tensor& q_NHD, const at::Tensor& k_NGD, const at::Tensor& v_NGD,
                      int layer, const LayerRows& rows, Segment& segment,
                      const at::Tensor& sink_logits_H, const at::Tensor& out_NHD) const;
  at::Tensor norm(const at::Tensor& x, const at::Tensor& weight) const;
  at::Tensor mlp(const at::Tensor& x_NC, const LayerWeights& w) const;

  Architecture architecture_;
  Weights weights_;
  std::vector<LayerBranch> branches_;
  RotaryTable global_rotary_, local_rotary_;
};

}  // namespace strata
