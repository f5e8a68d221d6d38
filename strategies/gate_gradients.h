// Gradients of teacher-forced answer NLL in gates (models/training/gated_pass.h) over calibration
// samples: one forward and backward pass a sample, for all units at once.
#pragma once

#include <cstdint>
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

// At one set of gates, on some of the samples. memory_bytes: for activations of all workers.
// Errors: those of the model, kInterrupted.
Result<GateGradients> gate_gradients(const SelectionRequest& request, SelectionContext& context,
                                     std::span<const double> gates,
                                     std::span<const std::size_t> samples,
                                     std::uint64_t memory_bytes);

// Scores with their evidence: a tensor of one position a sample, marked as derivatives.
UnitScores scores_of(const GateGradients& gradients, const SelectionRequest& request,
                     const CalibrationSet& calibration);

}  // namespace strata
