// Lightning's chunked form (models/mixers/linear_attention.h) where no gradient is asked for and
// the device has no cache to stay in: a GPU. It does what autograd forbids, and by that moves less:
// what lies between two products is changed in place, outputs are written where they end, and
// heads, not rows, are taken a few at a time, whose rows lie behind one another in memory.
//
// Products of halves run on tensor cores: they sum in float32, and what lies between two products
// (scores, what a chunk adds to the state, the states that chunks begin with) is rounded to halves,
// as flash attention rounds its weights. The state that is handed on is summed in float32.
#pragma once

#include "models/mixers/linear_attention.h"

namespace strata {

// λ^steps, λ = exp(log_decay) (−∞: 0, whose power 0 is 1); 0 where steps are negative. Both
// broadcast.
at::Tensor decay_over(const at::Tensor& log_decay, const at::Tensor& steps);

// As `lightning`, with gradients off (else a programmer's error). Working memory beside inputs and
// outputs does not grow with N. Halves on a GPU alone.
LinearOutput lightning_in_place(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK,
                                const at::Tensor& v_BHNV, const at::Tensor& log_decay_H,
                                const LinearState& state, std::int64_t chunk);

}  // namespace strata
