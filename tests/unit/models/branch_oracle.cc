#include "tests/unit/models/branch_oracle.h"

#include <ATen/ops/zeros.h>

#include <cmath>

#include "tests/unit/models/linear_oracle.h"

namespace strata::testing {
namespace {

double at1(const at::Tensor& x, std::int64_t i) {
  return x.select(0, i).to(at::kDouble).item<double>();
}

Matrix convolved(const Matrix& x, const at::Tensor& taps) {
  if (!taps.defined()) return x;
  Matrix out = x;
  const Matrix w = rows_of(taps);
  const std::size_t width = w[0].size();
  for (std::size_t n = 0; n < x.size(); ++n)
    for (std::size_t c = 0; c < x[n].size(); ++c) {
      double sum = 0;
      for (std::size_t back = 0; back < width && back <= n; ++back)
        sum += w[c][width - 1 - back] * x[n - back][c];
      out[n][c] = sum * sigmoid(sum);
    }
  return out;
}

}  // namespace

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

Matrix rows_of(const at::Tensor& x_NC) {
  const at::Tensor wide = x_NC.to(at::kDouble).contiguous();
  Matrix out;
  for (std::int64_t n = 0; n < wide.size(0); ++n) {
    const double* row = wide.const_data_ptr<double>() + n * wide.size(1);
    out.emplace_back(row, row + wide.size(1));
  }
  return out;
}

Matrix product(const Matrix& x, const at::Tensor& weight, const at::Tensor& bias) {
  Matrix out;
  const Matrix w = rows_of(weight);
  for (const auto& row : x) {
    std::vector<double>& to = out.emplace_back();
    for (std::size_t o = 0; o < w.size(); ++o) {
      double sum = bias.defined() ? at1(bias, static_cast<std::int64_t>(o)) : 0;
      for (std::size_t c = 0; c < row.size(); ++c) sum += row[c] * w[o][c];
      to.push_back(sum);
    }
  }
  return out;
}

void norm_heads(Matrix& x, const at::Tensor& weight, std::size_t d, double epsilon) {
  if (!weight.defined()) return;
  for (auto& row : x)
    for (std::size_t h = 0; h < row.size() / d; ++h) {
      double squares = 0;
      for (std::size_t i = 0; i < d; ++i) squares += row[h * d + i] * row[h * d + i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(d) + epsilon);
      for (std::size_t i = 0; i < d; ++i)
        row[h * d + i] *= scale * at1(weight, static_cast<std::int64_t>(i));
    }
}

void turn(Matrix& x, std::size_t d, const at::Tensor& frequencies) {
  for (std::size_t n = 0; n < x.size(); ++n)
    for (std::size_t h = 0; h < x[n].size() / d; ++h)
      for (std::size_t i = 0; i < d / 2; ++i) {
        const float angle = static_cast<float>(n) *
                            frequencies.select(0, static_cast<std::int64_t>(i)).item<float>();
        double& a = x[n][h * d + i];
        double& b = x[n][h * d + d / 2 + i];
        const double c = std::cos(static_cast<double>(angle)),
                     s = std::sin(static_cast<double>(angle));
        const double turned = a * c - b * s;
        b = b * c + a * s;
        a = turned;
      }
}

Matrix branch_heads_oracle(const Architecture& a, const Weights& model, const LayerBranch& branch,
                           const Matrix& x) {
  const BranchWeights& w = branch.weights();
  const LinearBranchConfig& config = branch.config();
  const auto d = static_cast<std::size_t>(a.head_dim);
  const std::int64_t rows = static_cast<std::int64_t>(x.size()), heads = a.query_heads;
  Matrix q = convolved(product(x, w.q, w.q_bias), w.q_conv);
  Matrix k = convolved(product(x, w.k, w.k_bias), w.k_conv);
  const Matrix v = convolved(product(x, w.v, w.v_bias), w.v_conv);
  norm_heads(q, w.q_norm, d, a.rms_norm_eps);
  norm_heads(k, w.k_norm, d, a.rms_norm_eps);
  if (config.rope) {
    turn(q, d, model.inverse_frequencies);
    turn(k, d, model.inverse_frequencies);
  }
  const auto by_head = [&](const Matrix& from, std::int64_t count) {
    at::Tensor out = at::zeros({1, heads, rows, a.head_dim}, at::kDouble);
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t n = 0; n < rows; ++n)
        for (std::int64_t i = 0; i < a.head_dim; ++i)
          out[0][h][n][i] = from[static_cast<std::size_t>(n)]
                                [static_cast<std::size_t>(h / (heads / count) * a.head_dim + i)];
    return out;
  };
  const std::int64_t kv_heads = config.expand_kv_heads ? heads : a.kv_heads;
  LinearInputs in{.kind = LinearInputs::Kind::kLightning,
                  .q = by_head(q, heads),
                  .k = by_head(k, kv_heads),
                  .v = by_head(v, kv_heads),
                  .gates = at::zeros({heads}, at::kDouble),
                  .beta = {},
                  .start = at::zeros({1, heads, a.head_dim, a.head_dim}, at::kDouble)};
  if (config.kind == LinearKind::kLightning)
    for (std::int64_t h = 0; h < heads; ++h) {
      const double depth = static_cast<double>(branch.layer()) / (a.layers - 1);
      in.gates[h] = -std::pow(2.0, -8.0 * static_cast<double>(h + 1) / static_cast<double>(heads)) *
                    (config.layer_decay ? 1 - depth + 1e-5 : 1);
    }
  if (config.kind == LinearKind::kGla) {
    in.kind = LinearInputs::Kind::kGla;
    Matrix raw = product(product(x, w.decay_down, {}), w.decay_up, w.decay_bias);
    for (auto& row : raw)
      for (double& value : row) value = std::log(sigmoid(value)) / config.gate_divisor;
    in.gates = by_head(raw, heads);
  }
  if (config.kind == LinearKind::kGatedDeltaNet) {
    in.kind = LinearInputs::Kind::kGatedDeltanet;
    in.gates = at::zeros({1, heads, rows}, at::kDouble);
    in.beta = at::zeros({1, heads, rows}, at::kDouble);
    const Matrix decay = product(x, w.decay, w.decay_shift), beta = product(x, w.beta, {});
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t n = 0; n < rows; ++n) {
        const auto hh = static_cast<std::size_t>(h), nn = static_cast<std::size_t>(n);
        in.gates[0][h][n] = -std::exp(at1(w.decay_log, h)) * std::log1p(std::exp(decay[nn][hh]));
        in.beta[0][h][n] = config.max_beta * sigmoid(beta[nn][hh]);
      }
  }
  const std::vector<double> read = linear_oracle(in).out;
  Matrix out(x.size(), std::vector<double>(static_cast<std::size_t>(heads) * d));
  for (std::size_t h = 0; h < static_cast<std::size_t>(heads); ++h)
    for (std::size_t n = 0; n < x.size(); ++n)
      for (std::size_t i = 0; i < d; ++i)
        out[n][h * d + i] = read[(h * x.size() + n) * d + i] /
                            (config.scale_query ? std::sqrt(static_cast<double>(d)) : 1);
  norm_heads(out, w.out_norm, d, a.rms_norm_eps);
  if (w.gate.defined()) {
    const Matrix gate = product(x, w.gate, w.gate_bias);
    for (std::size_t n = 0; n < x.size(); ++n)
      for (std::size_t i = 0; i < out[n].size(); ++i) out[n][i] *= sigmoid(gate[n][i]);
  }
  return out;
}

Matrix branch_oracle(const Architecture& a, const Weights& model, const LayerBranch& branch,
                     const Matrix& x) {
  return product(branch_heads_oracle(a, model, branch, x), branch.weights().o,
                 branch.weights().o_bias);
}

}  // namespace strata::testing
