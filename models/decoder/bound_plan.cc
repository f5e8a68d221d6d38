#include "models/decoder/bound_plan.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

namespace strata {
namespace {

at::Tensor index_unless_all(const std::vector<std::int64_t>& indices, std::int64_t total,
                            const at::TensorOptions& options) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(total));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  return indices == all ? at::Tensor() : at::tensor(indices, options);
}

std::vector<StoreGroup> store_groups(const AttentionPlan& plan, int layer,
                                     const at::TensorOptions& options) {
  std::vector<StoreGroup> stores;
  for (int kv_head = 0; kv_head < plan.layout().kv_heads; ++kv_head) {
    const AttentionPlan::Retention retention = plan.retention(layer, kv_head);
    const auto it = std::find_if(stores.begin(), stores.end(), [&](const StoreGroup& store) {
      return store.retention == retention;
    });
    StoreGroup& store =
        it != stores.end() ? *it : stores.emplace_back(StoreGroup{retention, {}, {}});
    store.kv_heads.push_back(kv_head);
  }
  for (StoreGroup& store : stores)
    store.kv_index = index_unless_all(store.kv_heads, plan.layout().kv_heads, options);
  return stores;
}

BoundLayer bind_layer(const AttentionPlan& plan, int layer, const at::TensorOptions& options) {
  BoundLayer bound{store_groups(plan, layer, options), {}};
  const int group_size = plan.layout().query_heads / plan.layout().kv_heads;
  struct Members {
    std::vector<std::int64_t> query_heads, kv_in_store;
  };
  // (store, entry, query heads of the KV head that follow the entry) → members
  std::map<std::tuple<std::size_t, PaletteEntry, int>, Members> groups;
  for (std::size_t store = 0; store < bound.stores.size(); ++store) {
    const std::vector<std::int64_t>& kv_heads = bound.stores[store].kv_heads;
    for (std::size_t i = 0; i < kv_heads.size(); ++i) {
      std::map<PaletteEntry, std::vector<std::int64_t>> heads_of;
      const int first = static_cast<int>(kv_heads[i]) * group_size;
      for (int head = first; head < first + group_size; ++head)
        heads_of[plan.entry(layer, head)].push_back(head);
      for (const auto& [entry, heads] : heads_of) {
        Members& members = groups[{store, entry, static_cast<int>(heads.size())}];
        members.query_heads.insert(members.query_heads.end(), heads.begin(), heads.end());
        members.kv_in_store.push_back(static_cast<std::int64_t>(i));
      }
    }
  }
  for (const auto& [key, members] : groups) {
    const std::size_t store = std::get<0>(key);
    bound.groups.push_back(
        {std::get<1>(key), store,
         index_unless_all(members.query_heads, plan.layout().query_heads, options),
         index_unless_all(members.kv_in_store,
                          static_cast<std::int64_t>(bound.stores[store].kv_heads.size()),
                          options)});
  }
  return bound;
}

}  // namespace

BoundPlan::BoundPlan(AttentionPlan plan, const at::TensorOptions& index_options)
    : plan_(std::move(plan)) {
  for (int layer = 0; layer < plan_.layout().layers; ++layer)
    layers_.push_back(bind_layer(plan_, layer, index_options.dtype(at::kLong)));
}

}  // namespace strata
