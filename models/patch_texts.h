// Both texts of a pair, run and kept, for passes that patch one by the other. Internal to
// models/path_patch.cc and models/path_attribution.cc.
//
// Legend: N tokens of a text, n carried rows, A answer rows (the last of them), B sequences,
// C hidden size, H query heads, G KV heads, D head size.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "models/forward.h"
#include "models/path_patch.h"

namespace strata {

struct PatchRows {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

// What is kept of a layer at the carried rows. The top layer's heads are kept at the answer rows
// alone. `other` goes through the layer's o, or where corrupted heads are linear through their
// branch's, in whose type it then is.
struct PatchLayer {
  at::Tensor x_nC, mixed_nHD, other_nHD;
  at::Tensor k_NGD, v_NGD;  // of the whole clean text, where senders are asked for
};

// A prompt with those of its answer's tokens that are fed back.
Tokens forced_text(std::span<const TokenId> prompt, std::span<const TokenId> answer);

inline at::Tensor last_rows(const at::Tensor& t, std::int64_t count) {
  return t.narrow(0, t.size(0) - count, count);
}

class PatchTexts {
 public:
  // Of checked arguments. For direct effects (senders false) the answer's rows alone are carried.
  PatchTexts(MeteredModel& model, const PatchPair& pair, const PatchSetting& setting, bool senders);

  // Runs both and keeps what is needed of them: margins alone are filled in.
  PatchEffects run();
  // m of each sequence, from the top layer's output. Two rows of the LM head are read, not the
  // vocabulary.
  std::vector<double> margins(const at::Tensor& x_BAC);

  const at::Tensor& readout() const { return readout_AC_; }  // m = Σ readout ∘ final_norm(x)

  // Whether corrupted heads are linear, and then what one adds to its mixer's output at the last
  // `rows` carried rows: [rows, C], in the model's type.
  bool linear() const { return linear_; }
  at::Tensor linear_output(int layer, std::int64_t head, std::int64_t rows);

  const PatchLayer& layer(int index) const { return layers_[static_cast<std::size_t>(index)]; }
  std::int64_t prompt() const { return prompt_; }
  std::int64_t answer() const { return answer_; }
  std::int64_t tokens() const { return tokens_; }  // N
  // Ascending; the last ends with the text and has the answer's rows.
  const std::vector<PatchRows>& carried() const { return carried_; }
  std::int64_t carried_rows() const;  // n
  // Of a carried range, where the queries begin that are computed: all of it, or of the last range
  // the answer's rows and of the others none (then its end).
  std::int64_t query_begin(const PatchRows& range, bool answer_alone) const;
  // The range as a piece of `batch` texts, for Decoder::project.
  Segment segment(const PatchRows& range, std::int64_t query_begin, std::int64_t batch) const;

  Meter meter;  // of all that is done with them

 private:
  double run_text(const Tokens& tokens, const AttentionPlan& plan, bool other);
  void keep(const ForwardHooks& hooks, int layer, bool other);
  at::Tensor carried_of(const at::Tensor& t) const;
  at::Tensor cheap_heads(int layer, const at::Tensor& q, const at::Tensor& k_NGD,
                         const at::Tensor& v_NGD);
  at::Tensor linear_heads(int layer, const at::Tensor& x_NC);

  const MeteredModel& model_;
  const Decoder& decoder_;
  at::Device device_;
  const PatchSetting& setting_;
  bool senders_, linear_;
  std::int64_t prompt_, answer_, tokens_;
  Tokens clean_, other_;
  std::vector<PatchRows> carried_;
  at::Tensor readout_AC_;  // float64: decay^j / Z · (W[a⁺_j] − W[a⁻_j])
  std::vector<PatchLayer> layers_;
};

}  // namespace strata
