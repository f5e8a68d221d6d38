// One forward and backward pass of a model whose units each mix two kinds of attention by a gate:
//
//   out_u = cheap_u + g_u · (kept_u − cheap_u),   s_u = ∂ loss / ∂ g_u,
//
// units in the flat order of a mask. What is mixed is what heads give; of linear attention, whose
// branch has an o of its own, what leaves the mixers of a layer, each behind its own o. Only what
// the gates need is differentiated, and the weights where a request asks for them. Layers' inputs
// are kept; of the rest of a layer's activations only what fits the memory given, from the top
// layer down, the others are computed a second time (activation checkpointing); the loss is taken
// over chunks of positions. Prompts of one shape go through the model as one pass where all
// activations of all of them fit: what is counted of a prompt does not depend on who went with it.
// Deterministic on the CPU.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/mask.h"
#include "core/mixer_spec.h"
#include "core/progress.h"
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
  // Both read there, so that no gate reaches another layer: of kAlignment alone, whose gradient
  // then takes no way through the network. kept_from_teacher says nothing more.
  bool separate_layers = false;
};

enum class PassLoss {
  kNll,         // −log p of the next token, nats, mean over positions
  kDivergence,  // KL(unmasked model ‖ gated model), nats, mean over positions
  kHidden,  // mean squared difference of the last layer's normed output, over positions and width
  kAlignment,  // squared distance of each layer's mixer output from the unmasked model's: summed
               // over width, mean over positions and layers (FlashMorph, arXiv 2606.30562)
};

// What kAlignment compares.
struct Alignment {
  bool residual = false;    // the stream with the mixer's output added, else that output
  bool normalised = false;  // a layer's distances by the mean square that they are distances from
  bool operator==(const Alignment&) const = default;
};

// The unmasked model's output at the scored positions (of kAlignment: that of each layer's mixer):
// computed once a sample.
class TeacherRows {
 public:
  struct Impl;
  std::shared_ptr<const Impl> impl;
  std::uint64_t bytes = 0;
};

class WeightGradients;  // models/training/weight_gradients.h

// Whether a model's weights can be trained beside gates (or masks) of this cheap mixer.
// kUnsupported: linear attention, whose branches have weights of their own.
Status check_weight_training(const MixerSpec& cheap);

struct GatedRequest {
  std::span<const TokenId> prompt, answer;  // as in ForcedRequest
  std::span<const double> gates;            // in [0, 1]
  PassLoss loss = PassLoss::kNll;
  std::int64_t scored = 0;   // last positions of prompt + answer that are scored; 0 = the answer's
  Alignment alignment = {};  // of kAlignment
  const TeacherRows* teacher = nullptr;  // needed by all but kNll, of the same request
  // Where given, ∂ loss/∂ weights is added to it: of kNll, without kept_from_teacher; refused
  // beside linear attention.
  WeightGradients* weights = nullptr;
  std::string name;  // in errors; may be empty
};

struct GatedGradient {
  double loss = 0;
  std::vector<double> nll;  // of each scored position; none under kAlignment, which has no logits
  std::vector<double> gradient;  // s, of each unit
};

struct PassLimits {
  std::uint64_t memory_bytes = std::uint64_t{4} << 30;  // for activations, of all workers
  std::int64_t batch_rows = 1;  // tokens of all prompts in a pass; a pass has at least one prompt
  std::int64_t logits = std::int64_t{1} << 26;  // that exist at once; at least those of a position
};

// What suits the model's device. On a CPU, where workers take a prompt each: 4 GiB, one prompt a
// pass. On a GPU: half of its memory that weights leave, whether it is free now or not (so that the
// same passes cost the same), and as many tokens as bring speed. activation_mib, where given,
// replaces the memory.
PassLimits pass_limits(const Model& model, std::optional<std::int64_t> activation_mib);

// Bytes that a pass over `batch` prompts of `rows` tokens needs beside the weights where
// `kept_layers` layers keep all their activations: an estimate that is meant to lie above what is
// measured. A cheap mixer of linear attention has activations of its own, as have its branches as
// they are by default.
std::uint64_t gated_pass_bytes(const ModelShape& shape, std::int64_t rows, int kept_layers,
                               std::int64_t batch = 1, const MixerSpec& cheap = FullAttention{});

// Of each request, in their order; on the model's workers (models/parallel.h), within the limits.
// Requests of equal lengths, loss, alignment, scored and weights make passes together, in the order
// in which such come first. After each pass, finished(prompts in it), which may be empty, runs on
// the calling thread. Errors: those of MeteredModel::check, of both kinds of attention in every
// unit; gates of another count or outside [0, 1]; kUnsupported: weights beside linear attention;
// out of memory (at the first prompt of the pass);
// kInterrupted between passes.
Result<std::vector<GatedGradient>> gate_gradients(MeteredModel& model,
                                                  const GatedAttention& attention,
                                                  std::span<const GatedRequest> requests,
                                                  const PassLimits& limits,
                                                  const Progress& progress,
                                                  const std::function<void(std::size_t)>& finished);
Result<std::vector<TeacherRows>> teacher_rows(MeteredModel& model,
                                              std::span<const GatedRequest> requests,
                                              const PassLimits& limits, const Progress& progress);

}  // namespace strata
