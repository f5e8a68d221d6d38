#include "tests/unit/models/linear_oracle.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <span>

namespace strata::testing {

std::vector<at::Tensor*> LinearInputs::by_row() {
  std::vector<at::Tensor*> tensors = {&q, &k, &v};
  if (kind != Kind::kLightning) tensors.push_back(&gates);
  if (kind == Kind::kGatedDeltanet) tensors.push_back(&beta);
  return tensors;
}

std::vector<at::Tensor*> LinearInputs::all() {
  std::vector<at::Tensor*> tensors = by_row();
  if (kind == Kind::kLightning) tensors.push_back(&gates);
  tensors.push_back(&start);
  return tensors;
}

LinearInputs LinearInputs::each(const std::function<at::Tensor(const at::Tensor&)>& change) const {
  LinearInputs changed = *this;
  for (at::Tensor* tensor : changed.all()) *tensor = change(*tensor);
  return changed;
}

LinearInputs LinearInputs::part(std::int64_t from, std::int64_t count,
                                const at::Tensor& start_BHKV) const {
  LinearInputs part = *this;
  for (at::Tensor* tensor : part.by_row()) *tensor = tensor->narrow(2, from, count);
  part.start = start_BHKV;
  return part;
}

at::Tensor random_tensor(at::IntArrayRef sizes, Rng& rng, const Draw& draw) {
  at::Tensor x = at::empty(sizes, at::kDouble);
  for (std::int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<double>()[i] = draw(rng);
  return x;
}

LinearInputs random_linear_inputs(LinearInputs::Kind kind, const LinearShape& s, Rng& rng,
                                  const Draw& gate) {
  const auto normal = [&](std::int64_t rows, std::int64_t width) {
    return random_tensor({s.batch, s.heads, rows, width}, rng, [](Rng& r) { return r.normal(); });
  };
  LinearInputs in{.kind = kind,
                  .q = normal(s.rows, s.key_size),
                  .k = normal(s.rows, s.key_size),
                  .v = normal(s.rows, s.value_size),
                  .start = normal(s.key_size, s.value_size)};
  if (kind == LinearInputs::Kind::kLightning) in.gates = random_tensor({s.heads}, rng, gate);
  if (kind == LinearInputs::Kind::kGla)
    in.gates = random_tensor({s.batch, s.heads, s.rows, s.key_size}, rng, gate);
  if (kind == LinearInputs::Kind::kGatedDeltanet) {
    in.gates = random_tensor({s.batch, s.heads, s.rows}, rng, gate);
    const double most = rng.below(2) == 0 ? 1 : 2;
    in.beta =
        random_tensor({s.batch, s.heads, s.rows}, rng, [&](Rng& r) { return most * r.uniform(); });
  }
  return in;
}

namespace {

std::vector<double> unit_vector(std::span<const double> x) {
  double sum = 1e-6;
  for (const double value : x) sum += value * value;
  std::vector<double> unit;
  for (const double value : x) unit.push_back(value / std::sqrt(sum));
  return unit;
}

}  // namespace

// s[value][key] of one head after the other.
LinearOracle linear_oracle(const LinearInputs& in) {
  const std::int64_t heads = in.q.size(1), rows = in.rows();
  const auto key_size = static_cast<std::size_t>(in.q.size(3));
  const auto value_size = static_cast<std::size_t>(in.v.size(3));
  const auto part = [](const at::Tensor& x, std::int64_t index, std::size_t size) {
    return std::span(x.const_data_ptr<double>() + index * static_cast<std::int64_t>(size), size);
  };
  LinearOracle slow;
  for (std::int64_t head = 0; head < in.q.size(0) * heads; ++head) {
    const auto start = part(in.start, head, key_size * value_size);
    std::vector s(value_size, std::vector<double>(key_size));
    for (std::size_t a = 0; a < value_size; ++a)
      for (std::size_t d = 0; d < key_size; ++d) s[a][d] = start[d * value_size + a];
    for (std::int64_t row = head * rows; row < (head + 1) * rows; ++row) {
      std::span<const double> q = part(in.q, row, key_size), k = part(in.k, row, key_size);
      const std::span<const double> v = part(in.v, row, value_size);
      std::vector<double> unit_q, unit_k;
      // The state times `keep` (key × key) plus `write` v kᵀ.
      std::vector keep(key_size, std::vector<double>(key_size, 0.0));
      double write = 1;
      if (in.kind == LinearInputs::Kind::kGatedDeltanet) {
        q = unit_q = unit_vector(q);
        k = unit_k = unit_vector(k);
        write = in.beta.const_data_ptr<double>()[row];
      }
      for (std::size_t d = 0; d < key_size; ++d) {
        const double* gates = in.gates.const_data_ptr<double>();
        if (in.kind == LinearInputs::Kind::kLightning) keep[d][d] = std::exp(gates[head % heads]);
        if (in.kind == LinearInputs::Kind::kGla)
          keep[d][d] = std::exp(part(in.gates, row, key_size)[d]);
        if (in.kind == LinearInputs::Kind::kGatedDeltanet)
          for (std::size_t e = 0; e < key_size; ++e)
            keep[d][e] = std::exp(gates[row]) * ((d == e ? 1.0 : 0.0) - write * k[d] * k[e]);
      }
      for (std::size_t a = 0; a < value_size; ++a) {
        std::vector<double> next(key_size);
        double read = 0;
        for (std::size_t e = 0; e < key_size; ++e) {
          next[e] = write * v[a] * k[e];
          for (std::size_t d = 0; d < key_size; ++d) next[e] += s[a][d] * keep[d][e];
          read += next[e] * q[e];
        }
        s[a] = next;
        slow.out.push_back(read);
      }
    }
    for (std::size_t d = 0; d < key_size; ++d)
      for (std::size_t a = 0; a < value_size; ++a) slow.state.push_back(s[a][d]);
  }
  return slow;
}

}  // namespace strata::testing
