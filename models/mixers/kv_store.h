// KvStore: the cached keys and values of some KV heads of one layer of one sequence.
//
// Keeps every token, or only the sinks and a ring of the last `window` tokens behind them: what can
// no longer be seen is overwritten, and its memory is never allocated. Slot of position j: j below
// the sinks, else sinks + (j − sinks) mod window. Keys are stored after rotary embedding at their
// absolute position, so the order of slots does not matter to a query that sees them all. Owned by
// one sequence and one thread.
//
// Legend: G KV heads of the store, N new rows, M key rows, D head size.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "core/plan.h"
#include "models/mixers/attention.h"

namespace strata {

class KvStore {
 public:
  // Room for max_length tokens, or for fewer where the retention frees them.
  KvStore(AttentionPlan::Retention retention, std::int64_t kv_heads, std::int64_t head_dim,
          std::int64_t max_length, const at::TensorOptions& options);

  std::int64_t length() const { return length_; }  // tokens seen so far
  std::uint64_t bytes() const;                     // allocated
  const AttentionPlan::Retention& retention() const { return retention_; }

  // Keys for a chunk of rows at positions [begin, begin + N), which end the view; `begin` ≥
  // length() where unread rows were left out. Does not change the store. Rows before the chunk that
  // the store dropped are not in the view.
  KeyView view_with(const at::Tensor& k_GND, const at::Tensor& v_GND, std::int64_t begin) const;
  // Takes rows [begin, begin + N) in; a gap before them is allowed only where nothing will look
  // there.
  void append(const at::Tensor& k_GND, const at::Tensor& v_GND, std::int64_t begin);
  // Every slot that holds a token the last one can see, in any order.
  KeyView everything() const;
  // The last `window` tokens in order, and the sinks: for a query that sees less than the store
  // keeps.
  KeyView ordered() const;

  // A copy whose retention may be narrower; every token the new retention needs must still be
  // there.
  KvStore copy(AttentionPlan::Retention retention, const at::Tensor& heads,
               std::int64_t max_length) const;

 private:
  AttentionPlan::Retention retention_;
  std::int64_t length_ = 0;
  std::int64_t capacity_ = 0;
  at::Tensor k_GMD_, v_GMD_;

  bool is_ring() const { return !retention_.all; }
};

}  // namespace strata
