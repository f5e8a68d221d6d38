#include "models/mixers/linear_store.h"

#include <ATen/ops/cat.h>

#include <utility>
#include <vector>

#include "core/result.h"

namespace strata {
namespace {

// Every tensor of a state, defined or not.
std::vector<at::Tensor*> tensors_of(BranchState& state) {
  return {&state.state.s_BHKV, &state.q.tail_BWC, &state.k.tail_BWC, &state.v.tail_BWC};
}

}  // namespace

void LinearStore::put(const BranchState& after) {
  BranchState given = after;
  const std::vector<at::Tensor*> to = tensors_of(state_), from = tensors_of(given);
  for (std::size_t i = 0; i < to.size(); ++i)
    if (to[i]->defined()) to[i]->copy_(from[i]->detach());
  state_.length = after.length;
}

LinearStore LinearStore::gather(std::span<const LinearStore* const> parts) {
  BranchState joined = parts[0]->state_;
  const std::vector<at::Tensor*> to = tensors_of(joined);
  std::vector<std::vector<at::Tensor>> all(to.size());
  for (const LinearStore* part : parts) {
    STRATA_CHECK(part->length() == joined.length, "{} {}", part->length(), joined.length);
    BranchState state = part->state_;
    const std::vector<at::Tensor*> from = tensors_of(state);
    for (std::size_t i = 0; i < to.size(); ++i)
      if (from[i]->defined()) all[i].push_back(*from[i]);
  }
  for (std::size_t i = 0; i < to.size(); ++i)
    if (to[i]->defined()) *to[i] = at::cat(all[i], 0);
  return LinearStore(std::move(joined));
}

LinearStore LinearStore::sequences(std::int64_t first, std::int64_t count) const {
  BranchState part = state_;
  for (at::Tensor* tensor : tensors_of(part))
    if (tensor->defined()) *tensor = tensor->narrow(0, first, count);
  return LinearStore(std::move(part));
}

}  // namespace strata
