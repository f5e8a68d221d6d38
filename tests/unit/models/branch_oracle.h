// The slow, obvious twin of a layer's linear branch: loops over doubles from its weights alone,
// with the recurrences of linear_oracle.h.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/mixers/linear_branch.h"
#include "tests/unit/models/dense_oracle.h"

namespace strata::testing {

double sigmoid(double x);
Matrix rows_of(const at::Tensor& x_NC);
// x Wᵀ + bias (undefined: none).
Matrix product(const Matrix& x, const at::Tensor& weight, const at::Tensor& bias);
// RMSNorm of every `d` columns; nothing where the weight is undefined.
void norm_heads(Matrix& x, const at::Tensor& weight, std::size_t d, double epsilon);
// RoPE of every `d` columns; row n is position n.
void turn(Matrix& x, std::size_t d, const at::Tensor& frequencies);

// What the heads of a branch read of a sequence from its first token, [rows][heads · head size],
// before o; and through o.
Matrix branch_heads_oracle(const Architecture& architecture, const Weights& model,
                           const LayerBranch& branch, const Matrix& x);
Matrix branch_oracle(const Architecture& architecture, const Weights& model,
                     const LayerBranch& branch, const Matrix& x);

}  // namespace strata::testing
