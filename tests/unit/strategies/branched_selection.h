// The tiny selection problem with a linear branch in every layer, in which one layer's attention is
// nearly all that attention does.
#pragma once

#include <vector>

#include "models/mixers/linear_branch.h"
#include "tests/unit/strategies/tiny_selection.h"

namespace strata::testing {

class BranchedSelectionTest : public TinySelectionTest {
 protected:
  static constexpr std::size_t kNeeded = 3;

  BranchedSelectionTest() {
    std::vector<LayerBranch> branches;
    for (std::size_t layer = 0; layer < kLayers; ++layer) {
      if (layer != kNeeded) weights_.layers[layer].o.mul_(0.002);
      branches.push_back(
          LayerBranch::initial(architecture_, weights_, static_cast<int>(layer), {}));
    }
    model_ = Model::in_memory("tiny with branches", architecture_, weights_, std::move(branches));
    // Answers that the model gives.
    for (Sample& sample : calibration_.samples) {
      MeteredModel metered(*model_);
      const AttentionPlan full = AttentionPlan::full(model_->layout());
      const Request request{sample.prompt, &full, kAnswer};
      sample.answer =
          metered.prefill(std::span(&request, 1))->generate({.max_new_tokens = kAnswer})->front();
    }
    calibration_.id = content_id(calibration_.samples);
    request_.cheap = LinearAttention{LinearKind::kLightning};
    request_.budget.units = 1;
  }
};

}  // namespace strata::testing
