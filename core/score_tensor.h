// ScoreTensor: what keeping each unit was worth on each calibration sample at each answer position;
// the evidence of a selection that scores units (protocol: "store everything").
//
// Kept in float32, and scores are the means of these rounded numbers: what is computed later from a
// stored tensor is equal to what the selection saw, to the last bit. A plain value.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/mask.h"

namespace strata {

// What a gain is, in nats.
enum class GainKind {
  // −log p without the unit − (−log p with it), in the context; or the same of a divergence, where
  // the selection's diagnostics name another "measure".
  kToggle,
  // Likewise, each answer position twice: first in the context, then in its complement.
  kBothSides,
  // The derivative in the unit's gate, of a model in which every unit is a mix, which context_nll
  // is
  // of. No unit was toggled, and the context says nothing.
  kSlope,
  // The sample's part in a regression over random sets (strategies/mask_regression_fit.h); the same
  // at all positions. context_nll is the mean over the sets; the context says nothing.
  kRegression,
};

struct ScoreTensor {
  Mask context{Granularity::kLayer, {1, 1, 1}, false};  // what was kept while one unit was toggled
  GainKind kind = GainKind::kToggle;
  std::vector<std::string> samples;    // ids
  std::vector<std::string> clusters;   // of the samples; "" = a cluster of its own
  std::vector<std::size_t> positions;  // answer positions of each sample, each ≥ 1
  std::vector<float> context_nll;      // [sample][position], nats
  // [sample][unit][position], units in the mask's flat order; NaN where a unit was not scored on a
  // sample (it was no candidate, or a race had dropped it).
  std::vector<float> gains;

  std::size_t units() const { return context.size(); }
  // Where a sample's numbers begin in context_nll; [samples.size()] = its size.
  std::vector<std::size_t> offsets() const;
  // Means over the answer positions.
  std::vector<std::vector<double>> sample_gains() const;  // [sample][unit]
  std::vector<double> sample_context_nll() const;         // [sample]
  // [unit] means over the samples that it was scored on; NaN without one.
  std::vector<double> scores() const;
  // More samples, behind its own.
  void append(const ScoreTensor& more);
  bool operator==(const ScoreTensor&) const = default;
};

// Flat indices by falling score, NaN last; equal scores in the order of the units.
std::vector<std::size_t> ranked(const std::vector<double>& scores);

}  // namespace strata
