// LinearStore: what the linear heads of one layer remember of a batch of sequences of the same
// length: the counterpart of KvStore.
//
// Its memory is allocated once and written in place, so that a part of the batch can be run by
// itself and CUDA graphs can replay a step. Owned by one thread; for inference: what is put is
// detached from autograd.
#pragma once

#include <cstdint>
#include <span>

#include "models/mixers/linear_branch.h"

namespace strata {

class LinearStore {
 public:
  // `zeros`: LayerBranch::make_state of the batch, whose memory becomes the store's.
  explicit LinearStore(BranchState zeros) : state_(std::move(zeros)) {}

  std::int64_t length() const { return state_.length; }  // tokens seen so far
  std::uint64_t bytes() const { return state_.bytes(); }
  // Valid until the next put.
  const BranchState& state() const { return state_; }
  // The state after more tokens.
  void put(const BranchState& after);

  // The sequences of several stores of one length, copied into one.
  static LinearStore gather(std::span<const LinearStore* const> parts);
  // Sequences [first, first + count), sharing this store's memory: what is put there is here once
  // all sequences have it and `advance` was called.
  LinearStore sequences(std::int64_t first, std::int64_t count) const;
  void advance(std::int64_t length) { state_.length = length; }

 private:
  BranchState state_;
};

}  // namespace strata
