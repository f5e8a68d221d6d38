// KvStore: the cached keys and values of some KV heads of one layer, of a batch of sequences of the
// same length.
//
// Keeps every token, or only the sinks and a ring of the last `window` tokens behind them: what can
// no longer be seen is overwritten, and its memory is never allocated. Slot of position j: j below
// the sinks, else sinks + (j − sinks) mod window. Keys are stored after rotary embedding at their
// absolute position, so the order of slots does not matter to a query that sees them all. Owned by
// one thread.
//
// Legend: B sequences, G KV heads of the store, N new rows, M key rows, D head size.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "core/plan.h"
#include "models/mixers/attention.h"

namespace strata {

class KvStore {
 public:
  // Room for max_length tokens of each sequence, or for fewer where the retention frees them.
  KvStore(AttentionPlan::Retention retention, std::int64_t batch, std::int64_t kv_heads,
          std::int64_t head_dim, std::int64_t max_length, const at::TensorOptions& options);

  std::int64_t length() const { return length_; }  // tokens seen so far
  std::int64_t batch() const { return k_BGMD_.size(0); }
  std::uint64_t bytes() const;  // allocated, for the whole batch
  const AttentionPlan::Retention& retention() const { return retention_; }

  // Keys for a chunk of rows at positions [begin, begin + N), which end the view; `begin` ≥
  // length() where unread rows were left out. Does not change the store. Rows before the chunk that
  // the store dropped are not in the view.
  KeyView view_with(const at::Tensor& k_BGND, const at::Tensor& v_BGND, std::int64_t begin) const;
  // Takes rows [begin, begin + N) in; a gap before them is allowed only where nothing will look
  // there.
  void append(const at::Tensor& k_BGND, const at::Tensor& v_BGND, std::int64_t begin);
  // Every slot that holds a token the last one can see, in any order.
  KeyView everything() const;
  // The last `window` tokens in order, and the sinks: for a query that sees less than the store
  // keeps.
  KeyView ordered() const;

  // The sequences of several stores of one length, copied into one whose retention may be narrower
  // and whose heads may be fewer (undefined = all): every token the new retention needs must still
  // be there.
  static KvStore gather(std::span<const KvStore* const> parts, AttentionPlan::Retention retention,
                        const at::Tensor& heads, std::int64_t max_length);

  // Sequences [first, first + count), sharing this store's memory: what is appended there is here
  // once all sequences have it and `advance` was called.
  KvStore sequences(std::int64_t first, std::int64_t count) const;
  void advance(std::int64_t length) { length_ = length; }

 private:
  AttentionPlan::Retention retention_;
  std::int64_t length_ = 0;
  std::int64_t capacity_ = 0;
  at::Tensor k_BGMD_, v_BGMD_;

  bool is_ring() const { return !retention_.all; }
};

}  // namespace strata
