// PlanBinder: binds many plans of one decoder that agree in most layers, as the toggles of a
// selector do. Weights that are picked or narrowed for a layer with linear heads are so once for
// all plans that need the same, and freed with the last of them. Owned by one thread; the decoder
// must outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "models/decoder/decoder.h"

namespace strata {

class PlanBinder {
 public:
  explicit PlanBinder(const Decoder& decoder, BranchUse use = BranchUse::kRun)
      : decoder_(&decoder), use_(use) {}

  // See Decoder::bind. Every cell of linear attention has a branch of its kind in its layer
  // (checked).
  std::shared_ptr<const BoundPlan> bind(const AttentionPlan& plan);

 private:
  // (layer, its linear heads) → what they run on
  using Key = std::pair<int, std::vector<std::int64_t>>;

  const Decoder* decoder_;
  BranchUse use_;
  std::map<Key, std::weak_ptr<const LinearHeads>> known_;
};

}  // namespace strata
