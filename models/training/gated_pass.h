// One forward and backward pass of a model whose units each mix two kinds of attention by a gate:
//
//   out_u = cheap_u + g_u · (kept_u − cheap_u),   s_u = ∂ loss / ∂ g_u,
//
// units in the flat order of a mask. Only what the gates need is differentiated, and the weights
// where a request asks for them. Layers' inputs are kept; of the rest of a layer's activations only
// what fits the memory given, from the top layer down, the others are computed a second time
// (activation checkpointing); the loss is taken over chunks of positions. Deterministic on the CPU.
// Each call is one thread's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/mask.h"
#include "core/mixer_spec.h"
#include "models/model.h"

namespace strata {

struct GatedAttention {
  Granularity granularity = Granularity::kLayer;
  MixerSpec kept = FullAttention{};
  MixerSpec cheap = SlidingWindow{128, 4};
  DecodeRule rule = DecodeRule::kSame;  // of the cheap mixer
  // kept_u is what the unmasked model computes there, which no damage from lower layers reaches and
  // no gradient leaves (DuoAttention's released code); else it reads the mixed stream.
  bool kept_from_teacher = false;
};

enum class PassLoss {
  kNll,         // −log p of the next token, nats, mean over positions
  kDivergence,  // KL(unmasked model ‖ gated model), nats, mean over positions
  kHidden,  // mean squared difference of the last layer's normed output, over positions and width
};

// The unmasked model's output at the scored positions: computed once a sample.
class TeacherRows {
 public:
  struct Impl;
  std::shared_ptr<const Impl> impl;
  std::uint64_t bytes = 0;
};

class WeightGradients;  // models/training/weight_gradients.h

struct GatedRequest {
  std::span<const TokenId> prompt, answer;  // as in ForcedRequest
  std::span<const double> gates;            // in [0, 1]
  PassLoss loss = PassLoss::kNll;
  std::int64_t scored = 0;  // last positions of prompt + answer that are scored; 0 = the answer's
  const TeacherRows* teacher = nullptr;  // needed by kDivergence and kHidden, of the same request
  // Where given, ∂ loss/∂ weights is added to it: of kNll, without kept_from_teacher.
  WeightGradients* weights = nullptr;
};

struct GatedGradient {
  double loss = 0;
  std::vector<double> nll;       // of each scored position, whatever the loss
  std::vector<double> gradient;  // s, of each unit
};

// Bytes that a pass over `rows` tokens needs beside the weights where `kept_layers` layers keep all
// their activations: an estimate that is meant to lie above what is measured.
std::uint64_t gated_pass_bytes(const ModelShape& shape, std::int64_t rows, int kept_layers);

// Errors: those of MeteredModel::check; gates of another count or outside [0, 1]; out of memory.
Result<GatedGradient> gate_gradient(MeteredModel& model, const GatedAttention& attention,
                                    const GatedRequest& request, std::uint64_t memory_bytes);
Result<TeacherRows> teacher_rows(MeteredModel& model, const GatedRequest& request);

}  // namespace strata
