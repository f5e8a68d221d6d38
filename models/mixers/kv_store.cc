#include "models/mixers/kv_store.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/remainder.h>

#include <algorithm>

#include "core/result.h"

namespace strata {
namespace {

// Slots of positions [from, to), in order.
at::Tensor slots_of(const AttentionPlan::Retention& kept, std::int64_t from, std::int64_t to,
                    const at::Tensor& like) {
  const at::Tensor positions = at::arange(from, to, like.options().dtype(at::kLong));
  return at::remainder(positions - kept.sinks, kept.window) + kept.sinks;
}

}  // namespace

KvStore::KvStore(AttentionPlan::Retention retention, std::int64_t kv_heads, std::int64_t head_dim,
                 std::int64_t max_length, const at::TensorOptions& options)
    : retention_(retention),
      capacity_(retention.all ? max_length
                              : std::min(max_length, retention.sinks + retention.window)),
      k_GMD_(at::empty({kv_heads, capacity_, head_dim}, options)),
      v_GMD_(at::empty({kv_heads, capacity_, head_dim}, options)) {}

std::uint64_t KvStore::bytes() const {
  return k_GMD_.storage().nbytes() + v_GMD_.storage().nbytes();
}

KeyView KvStore::ordered() const {
  if (!is_ring()) return {{}, {}, k_GMD_.narrow(1, 0, length_), v_GMD_.narrow(1, 0, length_), 0};
  const std::int64_t sinks = std::min(length_, retention_.sinks);
  const std::int64_t tail_begin = std::max(sinks, length_ - retention_.window);
  KeyView view{k_GMD_.narrow(1, 0, sinks), v_GMD_.narrow(1, 0, sinks), {}, {}, tail_begin};
  const std::int64_t first_slot =
      tail_begin < retention_.sinks
          ? tail_begin
          : retention_.sinks + (tail_begin - retention_.sinks) % retention_.window;
  if (first_slot + (length_ - tail_begin) <= capacity_) {  // not wrapped: no copy
    view.tail_k_GMD = k_GMD_.narrow(1, first_slot, length_ - tail_begin);
    view.tail_v_GMD = v_GMD_.narrow(1, first_slot, length_ - tail_begin);
  } else {
    const at::Tensor slots = slots_of(retention_, tail_begin, length_, k_GMD_);
    view.tail_k_GMD = k_GMD_.index_select(1, slots);
    view.tail_v_GMD = v_GMD_.index_select(1, slots);
  }
  return view;
}

KeyView KvStore::view_with(const at::Tensor& k_GND, const at::Tensor& v_GND,
                           std::int64_t begin) const {
  const std::int64_t rows = k_GND.size(1);
  STRATA_CHECK(begin >= length_, "{} {}", begin, length_);
  const bool gap = begin > length_;
  if (!is_ring()) {
    if (length_ == 0) return {{}, {}, k_GND, v_GND, begin};
    if (gap) {
      // Unread rows were left out: only the first tokens (sinks among them) and the new rows are
      // looked at.
      return {k_GMD_.narrow(1, 0, length_), v_GMD_.narrow(1, 0, length_), k_GND, v_GND, begin};
    }
    return {{},
            {},
            at::cat({k_GMD_.narrow(1, 0, length_), k_GND}, 1),
            at::cat({v_GMD_.narrow(1, 0, length_), v_GND}, 1),
            0};
  }
  // New rows below the sinks' end belong to the sinks part.
  const std::int64_t new_sinks = std::clamp(retention_.sinks - begin, std::int64_t{0}, rows);
  const std::int64_t new_tail = rows - new_sinks;
  const KeyView past = ordered();
  KeyView view = past;
  if (new_sinks > 0) {
    view.sink_k_GSD = at::cat({past.sink_k_GSD, k_GND.narrow(1, 0, new_sinks)}, 1);
    view.sink_v_GSD = at::cat({past.sink_v_GSD, v_GND.narrow(1, 0, new_sinks)}, 1);
    view.tail_begin = begin + new_sinks;
  }
  const at::Tensor k_tail = k_GND.narrow(1, new_sinks, new_tail);
  const at::Tensor v_tail = v_GND.narrow(1, new_sinks, new_tail);
  if (gap || new_sinks > 0 || past.tail_k_GMD.size(1) == 0) {
    view.tail_begin = begin + new_sinks;
    view.tail_k_GMD = k_tail;
    view.tail_v_GMD = v_tail;
  } else {
    view.tail_k_GMD = at::cat({past.tail_k_GMD, k_tail}, 1);
    view.tail_v_GMD = at::cat({past.tail_v_GMD, v_tail}, 1);
  }
  return view;
}

void KvStore::append(const at::Tensor& k_GND, const at::Tensor& v_GND, std::int64_t begin) {
  const std::int64_t end = begin + k_GND.size(1);
  STRATA_CHECK(begin >= length_, "{} {}", begin, length_);
  if (!is_ring()) {
    STRATA_CHECK(begin == length_ && end <= capacity_, "{} {} {}", begin, end, capacity_);
    k_GMD_.narrow(1, begin, end - begin).copy_(k_GND);
    v_GMD_.narrow(1, begin, end - begin).copy_(v_GND);
    length_ = end;
    return;
  }
  const auto write = [&](std::int64_t slot, std::int64_t from, std::int64_t count) {
    if (count <= 0) return;
    k_GMD_.narrow(1, slot, count).copy_(k_GND.narrow(1, from - begin, count));
    v_GMD_.narrow(1, slot, count).copy_(v_GND.narrow(1, from - begin, count));
  };
  write(begin, begin, std::min(end, retention_.sinks) - begin);
  // At most two runs: up to the ring's end, and from its start.
  std::int64_t from = std::max({begin, retention_.sinks, end - retention_.window});
  while (from < end) {
    const std::int64_t offset = (from - retention_.sinks) % retention_.window;
    const std::int64_t count = std::min(end - from, retention_.window - offset);
    write(retention_.sinks + offset, from, count);
    from += count;
  }
  length_ = end;
}

KeyView KvStore::everything() const {
  const std::int64_t filled = std::min(length_, capacity_);
  return {{}, {}, k_GMD_.narrow(1, 0, filled), v_GMD_.narrow(1, 0, filled), 0};
}

KvStore KvStore::copy(AttentionPlan::Retention retention, const at::Tensor& heads,
                      std::int64_t max_length) const {
  KvStore out(retention, heads.defined() ? heads.size(0) : k_GMD_.size(0), k_GMD_.size(2),
              max_length, k_GMD_.options());
  const auto chosen = [&](const at::Tensor& x) {
    return heads.defined() ? x.index_select(0, heads) : x;
  };
  if (retention == retention_) {
    const std::int64_t filled = std::min(length_, capacity_);
    out.k_GMD_.narrow(1, 0, filled).copy_(chosen(k_GMD_.narrow(1, 0, filled)));
    out.v_GMD_.narrow(1, 0, filled).copy_(chosen(v_GMD_.narrow(1, 0, filled)));
    out.length_ = length_;
    return out;
  }
  STRATA_CHECK(!is_ring());
  out.append(chosen(k_GMD_.narrow(1, 0, length_)), chosen(v_GMD_.narrow(1, 0, length_)), 0);
  return out;
}

}  // namespace strata
