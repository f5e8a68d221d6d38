// Gradients of teacher-forced answer NLL in gates (models/training/gated_pass.h) over calibration
// samples: each goes forward and backward once, for all units at once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "models/training/gated_pass.h"
#include "strategies/strategy.h"

namespace strata {

// The request's two mixers, to be mixed by gates.
GatedAttention gated_attention(const SelectionRequest& request);

struct GateGradients {
  std::vector<std::size_t> samples;  // indices into the calibration set
  std::vector<double> nll;           // [sample] of the gated model, mean nats a token
  std::vector<std::vector<double>> gain;  // [sample][unit] −∂NLL/∂g: what opening the gate is worth

  std::vector<double> mean_gain() const;  // [unit]
  double mean_nll() const;
};

// At one set of gates, on some of the samples. activation_mib: as in pass_limits. Errors: those of
// the model, at their sample; kInterrupted.
Result<GateGradients> gate_gradients(const SelectionRequest& request, SelectionContext& context,
                                     std::span<const double> gates,
                                     std::span<const std::size_t> samples,
                                     std::optional<std::int64_t> activation_mib);

// Scores with their evidence: a tensor of one position a sample, marked as derivatives.
UnitScores scores_of(const GateGradients& gradients, const SelectionRequest& request,
                     const CalibrationSet& calibration);

}  // namespace strata
