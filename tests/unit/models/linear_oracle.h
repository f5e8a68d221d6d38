// The slow, obvious twin of the linear mixers: their recurrences, row by row in loops over doubles,
// on the state as the papers write it. Shares nothing with models/ but the numbers.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "core/rng.h"

namespace strata::testing {

// What a linear mixer is given. Legend of models/mixers/linear_attention.h.
struct LinearInputs {
  enum class Kind { kLightning, kGla, kGatedDeltanet };
  Kind kind;
  at::Tensor q, k, v;
  at::Tensor gates;  // lightning [H], gla [B, H, N, K], gated_deltanet [B, H, N]
  at::Tensor beta;   // gated_deltanet [B, H, N]
  at::Tensor start;  // [B, H, K, V]

  std::int64_t rows() const { return q.size(2); }
  std::vector<at::Tensor*> by_row();  // whose dimension 2 is N
  std::vector<at::Tensor*> all();     // by_row first
  LinearInputs each(const std::function<at::Tensor(const at::Tensor&)>& change) const;
  LinearInputs part(std::int64_t from, std::int64_t count, const at::Tensor& start_BHKV) const;
};

struct LinearShape {
  std::int64_t batch, heads, rows, key_size, value_size;
};

using Draw = std::function<double(Rng&)>;
at::Tensor random_tensor(at::IntArrayRef sizes, Rng& rng, const Draw& draw);  // float64, CPU
// Log gates by `gate`; β up to 1 or up to 2; all else normal. Float64, CPU.
LinearInputs random_linear_inputs(LinearInputs::Kind kind, const LinearShape& shape, Rng& rng,
                                  const Draw& gate);

// As out_BHNV and s_BHKV lie in memory, contiguous.
struct LinearOracle {
  std::vector<double> out, state;
};
LinearOracle linear_oracle(const LinearInputs& in);  // float64, CPU, contiguous

}  // namespace strata::testing
