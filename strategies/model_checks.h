// Signs of a bug that need passes of the model of their own (diagnostics=full;
// docs/diagnostics.md): whether the model, its masks and its gradients are what every score rests
// on. Looked at on one calibration sample, whatever the selection; metered by whoever hands in the
// model.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/check.h"
#include "models/training/gated_pass.h"
#include "strategies/mask_losses.h"
#include "strategies/strategy.h"

namespace strata {

// What the dtype of activations lets be said.
struct Resolution {
  double nll = 0;   // two computations of one NLL may differ by this times max(1, NLL)
  double step = 0;  // of a gate, at which a difference of losses is neither noise nor curved
};
Resolution resolution_of(const ModelShape& shape);

// What checks ask of a model. A seam: a test hands in one with a defect.
struct ModelProbe {
  // Mean answer NLL, nats.
  std::function<Result<double>(const ForcedRequest&)> nll;
  // The answer NLL of the plan that keeps every unit, resumed from one that keeps none.
  std::function<Result<double>(const Sample&)> resumed_nll;
  // The gated pass at each of these gates.
  std::function<Result<std::vector<GatedGradient>>(const Sample&,
                                                   std::span<const std::vector<double>> gates)>
      gated;
  // What patching clean by clean changes (models/self_patch.h).
  std::function<Result<double>(const Sample&)> self_patch;
  Resolution resolution;
};

// Of the context's model, which must outlive it as request and context must.
ModelProbe probe_of(const SelectionRequest& request, SelectionContext& context);

// A windowed unit sees everything where all fits the window; the full plan is the unmasked model,
// by three other roads: windows as long as the text, open gates, a resumed run; patching clean by
// clean.
Result<std::vector<Check>> model_checks(const ModelProbe& probe, const SelectionRequest& request,
                                        const Sample& sample);

// Gradients of gates against central differences at the units of steepest gradient, and their
// integral from all gates 0 to all 1 against NLL_none − NLL_full.
Result<std::vector<Check>> gradient_checks(const ModelProbe& probe, const SelectionRequest& request,
                                           const Sample& sample);

// A search's set against the top K of its first round's scores, joint NLL over all samples; nothing
// to say (empty) where the selection is no search by scores.
Result<std::vector<Check>> search_checks(const SelectionRequest& request,
                                         const Selection& selection, const MaskLosses& losses,
                                         std::size_t samples, double rounding);

}  // namespace strata
