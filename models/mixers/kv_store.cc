#include "models/mixers/kv_store.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/remainder.h>

#include <algorithm>
#include <vector>

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

KvStore::KvStore(AttentionPlan::Retention retention, std::int64_t batch, std::int64_t kv_heads,
                 std::int64_t head_dim, std::int64_t max_length, const at::TensorOptions& options)
    : retention_(retention),
      capacity_(retention.all ? max_length
                              : std::min(max_length, retention.sinks + retention.window)),
      k_BGMD_(at::empty({batch, kv_heads, capacity_, head_dim}, options)),
      v_BGMD_(at::empty({batch, kv_heads, capacity_, head_dim}, options)) {}

std::uint64_t KvStore::bytes() const {
  return k_BGMD_.storage().nbytes() + v_BGMD_.storage().nbytes();
}

KeyView KvStore::ordered() const {
  if (!is_ring()) return {{}, {}, k_BGMD_.narrow(2, 0, length_), v_BGMD_.narrow(2, 0, length_), 0};
  const std::int64_t sinks = std::min(length_, retention_.sinks);
  const std::int64_t tail_begin = std::max(sinks, length_ - retention_.window);
  KeyView view{k_BGMD_.narrow(2, 0, sinks), v_BGMD_.narrow(2, 0, sinks), {}, {}, tail_begin};
  const std::int64_t first_slot =
      tail_begin < retention_.sinks
          ? tail_begin
          : retention_.sinks + (tail_begin - retention_.sinks) % retention_.window;
  if (first_slot + (length_ - tail_begin) <= capacity_) {  // not wrapped: no copy
    view.tail_k_BGMD = k_BGMD_.narrow(2, first_slot, length_ - tail_begin);
    view.tail_v_BGMD = v_BGMD_.narrow(2, first_slot, length_ - tail_begin);
  } else {
    const at::Tensor slots = slots_of(retention_, tail_begin, length_, k_BGMD_);
    view.tail_k_BGMD = k_BGMD_.index_select(2, slots);
    view.tail_v_BGMD = v_BGMD_.index_select(2, slots);
  }
  return view;
}

KeyView KvStore::view_with(const at::Tensor& k_BGND, const at::Tensor& v_BGND,
                           std::int64_t begin) const {
  const std::int64_t rows = k_BGND.size(2);
  STRATA_CHECK(begin >= length_, "{} {}", begin, length_);
  const bool gap = begin > length_;
  if (!is_ring()) {
    if (length_ == 0) return {{}, {}, k_BGND, v_BGND, begin};
    if (gap) {
      // Unread rows were left out: only the first tokens (sinks among them) and the new rows are
      // looked at.
      return {k_BGMD_.narrow(2, 0, length_), v_BGMD_.narrow(2, 0, length_), k_BGND, v_BGND, begin};
    }
    return {{},
            {},
            at::cat({k_BGMD_.narrow(2, 0, length_), k_BGND}, 2),
            at::cat({v_BGMD_.narrow(2, 0, length_), v_BGND}, 2),
            0};
  }
  // New rows below the sinks' end belong to the sinks part.
  const std::int64_t new_sinks = std::clamp(retention_.sinks - begin, std::int64_t{0}, rows);
  const std::int64_t new_tail = rows - new_sinks;
  const KeyView past = ordered();
  KeyView view = past;
  if (new_sinks > 0) {
    view.sink_k_BGSD = at::cat({past.sink_k_BGSD, k_BGND.narrow(2, 0, new_sinks)}, 2);
    view.sink_v_BGSD = at::cat({past.sink_v_BGSD, v_BGND.narrow(2, 0, new_sinks)}, 2);
    view.tail_begin = begin + new_sinks;
  }
  const at::Tensor k_tail = k_BGND.narrow(2, new_sinks, new_tail);
  const at::Tensor v_tail = v_BGND.narrow(2, new_sinks, new_tail);
  if (gap || new_sinks > 0 || past.tail_k_BGMD.size(2) == 0) {
    view.tail_begin = begin + new_sinks;
    view.tail_k_BGMD = k_tail;
    view.tail_v_BGMD = v_tail;
  } else {
    view.tail_k_BGMD = at::cat({past.tail_k_BGMD, k_tail}, 2);
    view.tail_v_BGMD = at::cat({past.tail_v_BGMD, v_tail}, 2);
  }
  return view;
}

void KvStore::append(const at::Tensor& k_BGND, const at::Tensor& v_BGND, std::int64_t begin) {
  const std::int64_t end = begin + k_BGND.size(2);
  STRATA_CHECK(begin >= length_, "{} {}", begin, length_);
  if (!is_ring()) {
    STRATA_CHECK(begin == length_ && end <= capacity_, "{} {} {}", begin, end, capacity_);
    k_BGMD_.narrow(2, begin, end - begin).copy_(k_BGND);
    v_BGMD_.narrow(2, begin, end - begin).copy_(v_BGND);
    length_ = end;
    return;
  }
  const auto write = [&](std::int64_t slot, std::int64_t from, std::int64_t count) {
    if (count <= 0) return;
    k_BGMD_.narrow(2, slot, count).copy_(k_BGND.narrow(2, from - begin, count));
    v_BGMD_.narrow(2, slot, count).copy_(v_BGND.narrow(2, from - begin, count));
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
  return {{}, {}, k_BGMD_.narrow(2, 0, filled), v_BGMD_.narrow(2, 0, filled), 0};
}

KvStore KvStore::gather(std::span<const KvStore* const> parts, AttentionPlan::Retention retention,
                        const at::Tensor& heads, std::int64_t max_length) {
  const KvStore& first = *parts[0];
  std::int64_t batch = 0;
  for (const KvStore* part : parts) batch += part->batch();
  KvStore out(retention, batch, heads.defined() ? heads.size(0) : first.k_BGMD_.size(1),
              first.k_BGMD_.size(3), max_length, first.k_BGMD_.options());
  const bool as_stored = retention == first.retention_;
  const std::int64_t filled = std::min(first.length_, first.capacity_);
  const auto chosen = [&](const at::Tensor KvStore::*member) {
    std::vector<at::Tensor> rows;
    for (const KvStore* part : parts) {
      STRATA_CHECK(part->length_ == first.length_ && (as_stored || !part->is_ring()));
      const at::Tensor& stored = (part->*member).narrow(2, 0, filled);
      rows.push_back(heads.defined() ? stored.index_select(1, heads) : stored);
    }
    return rows.size() == 1 ? rows[0] : at::cat(rows, 0);
  };
  const at::Tensor k = chosen(&KvStore::k_BGMD_), v = chosen(&KvStore::v_BGMD_);
  if (as_stored) {  // slot by slot
    STRATA_CHECK(filled <= out.capacity_, "{} {}", filled, out.capacity_);
    out.k_BGMD_.narrow(2, 0, filled).copy_(k);
    out.v_BGMD_.narrow(2, 0, filled).copy_(v);
    out.length_ = first.length_;
  } else {
    out.append(k, v, 0);
  }
  return out;
}

KvStore KvStore::sequences(std::int64_t first, std::int64_t count) const {
  KvStore part = *this;
  part.k_BGMD_ = k_BGMD_.narrow(0, first, count);
  part.v_BGMD_ = v_BGMD_.narrow(0, first, count);
  return part;
}

}  // namespace strata
