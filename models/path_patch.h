// Path patching: what one head's output does to an answer, along stated paths, seen in a clean text
// and a corrupted one of the same length (HydraHead, arXiv 2606.20097; docs/selectors.md).
//
// Readout: m(x) = (1/Z) Σ_j decay^j (z_j[a⁺_j] − z_j[a⁻_j]) over the answer rows, Z = Σ_j decay^j,
// z the logits, a⁺ the clean answer, a⁻ the corrupted one. An effect is m(clean) − m(clean, where
// something is patched), in logits.
//
// While all attention is frozen, rows do not meet: a change reaches the readout along its own row,
// through the residual stream and the MLPs. Only the rows that count are therefore carried, many
// heads as one batch. How a row is rounded depends on the shape of its batch and on its place
// there; so the effect of a head is the difference to its own place in a batch of the same shape in
// which nothing is patched: exactly 0 where what is put in is what was there.
//
// Full attention is the clean run. Metered. Heads are numbered layer × query heads + head. Each
// call runs both texts anew and keeps their activations while it lasts: per layer and carried row
// the input and twice the heads' outputs, for senders also every key and value. This header is free
// of LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/tokens.h"
#include "models/model.h"

namespace strata {

struct PatchPair {
  std::span<const TokenId> prompt, answer;              // clean; at least one answer token
  std::span<const TokenId> other_prompt, other_answer;  // corrupted, each as long
};

// Which rows of a sender are patched and carried up to the receivers.
enum class SenderRows {
  kAll,      // from the first that differs on
  kChanged,  // of the changed tokens and of the one behind each run of them; and the answer's
};

// How the effect of a patch is had.
enum class PatchMethod {
  kExact,        // patched forward passes of every head
  kAttribution,  // to first order, all heads in one backward pass: Σ (O(x) − O(x′)) · ∂m/∂O(x),
                 // where the gradient takes the same paths as the patch does
};

struct PatchSetting {
  double decay = 0.9;  // above 0, at most 1
  bool own_answer =
      true;  // the corrupted text goes on with its own answer, else with the clean one
  // Where given, the corrupted value of a head is what it gives under this plan, and m(corrupted)
  // that of the clean text under the plan. Softmax attention gives it on the clean run's own q, k
  // and v; linear attention (of every head then) on what the clean run gives its layer's branch,
  // and the branch's own columns of o take it to the stream, without HydraHead's fusion.
  const AttentionPlan* cheap = nullptr;
  SenderRows sender_rows = SenderRows::kAll;
  PatchMethod method = PatchMethod::kExact;
};

struct PatchEffects {
  double margin = 0;            // m(clean)
  double other_margin = 0;      // m(corrupted)
  std::vector<double> effects;  // one a head asked for
};

// Direct effect of every head: its output is replaced at the answer rows, the outputs of all
// attention above stay as they are. No attention is computed.
// Errors: those of MeteredModel::check, texts of unequal length.
Result<PatchEffects> direct_effects(MeteredModel& model, const PatchPair& pair,
                                    const PatchSetting& setting);

// Effect of each sender through the receivers above it alone: the sender's output is replaced, the
// receivers compute theirs from the inputs that this gives them (q, k and v), all else stays as it
// is; then the answer rows are read with the receivers' outputs replaced and the sender's as it
// was. Receivers see each other's changes, so that a chain of them carries what its first link
// gets. A sender with no receiver above it has effect 0.
Result<PatchEffects> path_effects(MeteredModel& model, const PatchPair& pair,
                                  const PatchSetting& setting, std::span<const std::size_t> senders,
                                  std::span<const std::size_t> receivers);

}  // namespace strata
