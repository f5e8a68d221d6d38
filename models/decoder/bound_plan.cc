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

// The heads of a layer that take part in softmax attention: their numbers in the layer.
struct Participants {
  std::vector<int> query_heads;  // of all KV heads below, group by group
  std::vector<int> kv_heads;     // that some of them read
};

Participants participants_of(const AttentionPlan& plan, int layer) {
  Participants here;
  const int group = plan.layout().query_heads / plan.layout().kv_heads;
  for (int head = 0; head < plan.layout().query_heads; ++head) {
    if (std::holds_alternative<LinearAttention>(plan.entry(layer, head).mixer)) continue;
    here.query_heads.push_back(head);
    if (here.kv_heads.empty() || here.kv_heads.back() != head / group)
      here.kv_heads.push_back(head / group);
  }
  return here;
}

std::vector<StoreGroup> store_groups(const AttentionPlan& plan, int layer,
                                     const Participants& participants,
                                     const at::TensorOptions& options) {
  std::vector<StoreGroup> stores;
  for (std::size_t i = 0; i < participants.kv_heads.size(); ++i) {
    const AttentionPlan::Retention retention = plan.retention(layer, participants.kv_heads[i]);
    const auto it = std::find_if(stores.begin(), stores.end(), [&](const StoreGroup& store) {
      return store.retention == retention;
    });
    StoreGroup& store =
        it != stores.end() ? *it : stores.emplace_back(StoreGroup{retention, {}, {}});
    store.kv_heads.push_back(static_cast<std::int64_t>(i));
  }
  for (StoreGroup& store : stores)
    store.kv_index = index_unless_all(store.kv_heads, std::ssize(participants.kv_heads), options);
  return stores;
}

BoundLayer bind_layer(const AttentionPlan& plan, int layer, const at::TensorOptions& options) {
  const Participants participants = participants_of(plan, layer);
  BoundLayer bound{store_groups(plan, layer, participants, options), {}, nullptr};
  const int group_size = plan.layout().query_heads / plan.layout().kv_heads;
  struct Members {
    std::vector<std::int64_t> query_heads, kv_in_store;
  };
  // (store, entry, query heads of the KV head that follow the entry) → members
  std::map<std::tuple<std::size_t, PaletteEntry, int>, Members> groups;
  for (std::size_t store = 0; store < bound.stores.size(); ++store) {
    const std::vector<std::int64_t>& kv_heads = bound.stores[store].kv_heads;
    for (std::size_t i = 0; i < kv_heads.size(); ++i) {
      const int kv_head = participants.kv_heads[static_cast<std::size_t>(kv_heads[i])];
      std::map<PaletteEntry, std::vector<std::int64_t>> heads_of;
      for (std::size_t at = 0; at < participants.query_heads.size(); ++at)
        if (const int head = participants.query_heads[at]; head / group_size == kv_head)
          heads_of[plan.entry(layer, head)].push_back(static_cast<std::int64_t>(at));
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
         index_unless_all(members.query_heads, std::ssize(participants.query_heads), options),
         index_unless_all(members.kv_in_store, std::ssize(bound.stores[store].kv_heads), options)});
  }
  return bound;
}

}  // namespace

BoundPlan::BoundPlan(AttentionPlan plan, const at::TensorOptions& index_options,
                     std::vector<std::shared_ptr<const LinearHeads>> linear)
    : plan_(std::move(plan)) {
  for (int layer = 0; layer < plan_.layout().layers; ++layer)
    layers_.push_back(bind_layer(plan_, layer, index_options.dtype(at::kLong)));
  for (std::size_t layer = 0; layer < linear.size(); ++layer)
    layers_[layer].linear = std::move(linear[layer]);
}

}  // namespace strata
