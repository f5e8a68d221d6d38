// BoundPlan: an AttentionPlan compiled for the decoder: in each layer, which KV heads are stored
// together and which query heads attend together. Immutable; shared between sequences of one plan.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "core/plan.h"

namespace strata {

// KV heads with the same retention share a store.
struct StoreGroup {
  AttentionPlan::Retention retention;
  std::vector<std::int64_t> kv_heads;
  at::Tensor kv_index;  // undefined = all heads of the layer, in order
};

// Query heads with the same entry, the same store, and equally many of them for each KV head.
struct HeadGroup {
  PaletteEntry entry;
  std::size_t store = 0;
  at::Tensor query_index;  // undefined = all heads of the layer, in order
  at::Tensor kv_in_store;  // undefined = all heads of the store, in order
};

struct BoundLayer {
  std::vector<StoreGroup> stores;
  std::vector<HeadGroup> groups;
};

class BoundPlan {
 public:
  BoundPlan(AttentionPlan plan, const at::TensorOptions& index_options);
  const AttentionPlan& plan() const { return plan_; }
  const BoundLayer& layer(int index) const { return layers_[static_cast<std::size_t>(index)]; }

 private:
  AttentionPlan plan_;
  std::vector<BoundLayer> layers_;
};

}  // namespace strata
