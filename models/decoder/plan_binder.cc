#include "models/decoder/plan_binder.h"

#include "core/result.h"

namespace strata {

std::shared_ptr<const BoundPlan> PlanBinder::bind(const AttentionPlan& plan) {
  const Architecture& architecture = decoder_->architecture();
  std::vector<std::shared_ptr<const LinearHeads>> linear(
      static_cast<std::size_t>(architecture.layers));
  for (int layer = 0; layer < architecture.layers; ++layer) {
    std::vector<std::int64_t> heads = linear_heads_of(plan, layer);
    if (heads.empty()) continue;
    const LayerBranch* const branch = decoder_->branch(layer);
    STRATA_CHECK(branch != nullptr, "layer {} has no branch", layer);
    const auto at = static_cast<std::size_t>(layer);
    std::weak_ptr<const LinearHeads>& known = known_[{layer, std::move(heads)}];
    linear[at] = known.lock();
    if (linear[at] != nullptr) continue;
    const LayerWeights& weights = decoder_->weights().layers[at];
    const auto type = weights.q.scalar_type();
    const bool narrow = use_ == BranchUse::kRun && c10::isReducedFloatingType(type);
    linear[at] = std::make_shared<const LinearHeads>(
        bind_linear(plan, layer, narrow ? branch->narrowed(type) : *branch, weights,
                    architecture.rms_norm_eps));
    known = linear[at];
  }
  return std::make_shared<const BoundPlan>(
      plan, at::TensorOptions().device(decoder_->options().device()), std::move(linear));
}

}  // namespace strata
