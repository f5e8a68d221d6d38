// ScoreTensor: what keeping each unit was worth on each calibration sample at each answer position;
// the evidence of a selection that scores units by toggling them (protocol: "store everything").
//
// gain = −log p without the unit − (−log p with it), in nats, in the context that is named; or the
// same of a divergence in nats, where the selection's diagnostics name another "measure". Kept in
// float32, and scores are the means of these rounded numbers: what is computed later from a stored
// tensor is equal to what the selection saw, to the last bit. A plain value.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/mask.h"

namespace strata {

struct ScoreTensor {
  Mask context{Granularity::kLayer, {1, 1, 1}, false};  // what was kept while one unit was toggled
  // The gains are derivatives in gates of a model in which every unit is a mix, which context_nll
  // is of: no unit was toggled, and the context says nothing.
  bool derivative = false;
  std::vector<std::string> samples;    // ids
  std::vector<std::string> clusters;   // of the samples; "" = a cluster of its own
  std::vector<std::size_t> positions;  // answer positions of each sample, each ≥ 1
  std::vector<float> context_nll;      // [sample][position], nats
  std::vector<float> gains;            // [sample][unit][position], units in the mask's flat order

  std::size_t units() const { return context.size(); }
  // Where a sample's numbers begin in context_nll; [samples.size()] = its size.
  std::vector<std::size_t> offsets() const;
  // Means over the answer positions.
  std::vector<std::vector<double>> sample_gains() const;  // [sample][unit]
  std::vector<double> sample_context_nll() const;         // [sample]
  std::vector<double> scores() const;                     // [unit] means over the samples
  bool operator==(const ScoreTensor&) const = default;
};

// Flat indices by falling score, NaN last; equal scores in the order of the units.
std::vector<std::size_t> ranked(const std::vector<double>& scores);

}  // namespace strata
