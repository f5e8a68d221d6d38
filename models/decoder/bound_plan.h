// BoundPlan: an AttentionPlan compiled for the decoder: in each layer, which KV heads are stored
// together, which query heads attend together, and what linear heads run on. Immutable; shared
// between sequences of one plan.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "core/plan.h"
#include "models/decoder/linear_heads.h"

namespace strata {

// KV heads with the same retention share a store. Heads are counted through those of the layer that
// take part in softmax attention.
struct StoreGroup {
  AttentionPlan::Retention retention;
  std::vector<std::int64_t> kv_heads;
  at::Tensor kv_index;  // undefined = all that take part, in order
};

// Query heads with the same entry, the same store, and equally many of them for each KV head.
struct HeadGroup {
  PaletteEntry entry;
  std::size_t store = 0;
  at::Tensor query_index;  // undefined = all that take part, in order
  at::Tensor kv_in_store;  // undefined = all heads of the store, in order
};

struct BoundLayer {
  std::vector<StoreGroup> stores;
  std::vector<HeadGroup> groups;
  std::shared_ptr<const LinearHeads> linear;  // null: no head is linear
};

class BoundPlan {
 public:
  // linear: [layer], null where no head is linear; empty where none is in the whole plan. Use
  // Decoder::bind, which knows the branches.
  BoundPlan(AttentionPlan plan, const at::TensorOptions& index_options,
            std::vector<std::shared_ptr<const LinearHeads>> linear = {});
  const AttentionPlan& plan() const { return plan_; }
  const BoundLayer& layer(int index) const { return layers_[static_cast<std::size_t>(index)]; }

 private:
  AttentionPlan plan_;
  std::vector<BoundLayer> layers_;
};

}  // namespace strata
