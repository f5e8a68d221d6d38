// LinearParts: what the trained branch of a linear-attention head consists of, as far as its cost
// depends on it (docs/cost.md says what each part is). A plain value, no weights.
//
// Every kind has q, k and v of the model's head size, an output gate as wide as the head where
// there is one, and an o of its own, as wide as the model's.
#pragma once

#include <cstdint>

#include "core/mixer_spec.h"

namespace strata {

struct LinearParts {
  std::int64_t decay_rank = 0;    // of the product that makes a decay a channel; 0 = no such decay
  std::int64_t gate_scalars = 0;  // a head and token, each from the layer's input
  std::int64_t conv_taps = 0;     // of the short convolutions over q, k and v; 0 = none
  bool corrects_its_state =
      false;  // the delta rule: what the state says of a key is taken off first
  bool output_gate = true;
  bool expands_kv = true;  // k and v for each query head; else for each KV head with a linear one
  bool operator==(const LinearParts&) const = default;
};

// Tokens of a prompt that are taken together; the state is written once for each such chunk.
// Chunks begin at multiples of it.
inline constexpr std::int64_t kLinearChunk = 64;

// The state is kept in at least this width: it sums over the whole text.
inline constexpr std::int64_t kLeastStateBytes = 4;

// Of a branch with the default options of models/mixers/linear_branch_config.h.
constexpr LinearParts linear_parts(LinearKind kind) {
  constexpr std::int64_t kGlaRank = 16, kTaps = 4;
  switch (kind) {
    case LinearKind::kLightning: break;
    case LinearKind::kGla: return {.decay_rank = kGlaRank};
    case LinearKind::kGatedDeltaNet:
      return {.gate_scalars = 2, .conv_taps = kTaps, .corrects_its_state = true};
  }
  return {};
}

}  // namespace strata
