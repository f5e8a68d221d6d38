#include "models/mixers/linear_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <c10/core/ScalarTypeToTypeMeta.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "core/result.h"
#include "models/mixers/lightning_in_place.h"

namespace strata {
namespace {

// Suffix _BHnC…: n chunks of C rows.

at::Tensor to_sums(const at::Tensor& x) { return x.to(sum_type(x.scalar_type())); }

std::uint64_t bytes_of(const at::Tensor& x) {
  return static_cast<std::uint64_t>(x.numel() * x.element_size());
}

void check_shapes(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK, const at::Tensor& v_BHNV,
                  const LinearState& state) {
  STRATA_CHECK(q_BHNK.dim() == 4 && v_BHNV.dim() == 4 && q_BHNK.size(2) >= 1);
  STRATA_CHECK(k_BHNK.sizes() == q_BHNK.sizes());
  STRATA_CHECK(v_BHNV.sizes().slice(0, 3) == q_BHNK.sizes().slice(0, 3));
  const at::Tensor& s = state.s_BHKV;
  STRATA_CHECK(s.sizes() ==
               at::IntArrayRef({q_BHNK.size(0), q_BHNK.size(1), q_BHNK.size(3), v_BHNV.size(3)}));
  STRATA_CHECK(k_BHNK.scalar_type() == q_BHNK.scalar_type() &&
               v_BHNV.scalar_type() == q_BHNK.scalar_type() &&
               s.scalar_type() == sum_type(q_BHNK.scalar_type()));
}

struct Mixed {
  at::Tensor out_BHnCV;
  at::Tensor end_BHKV;  // the state after the last chunk
};

// mix(rows in chunks, start state) → Mixed, over slabs of whole chunks one after the other, whose
// temporaries stay in the cache and do not grow with N; what is left of the rows is a chunk of its
// own. by_row: q first, N in dimension 2. Rows come in the type of sums.
template <typename Mix>
LinearOutput in_slabs(const std::vector<at::Tensor>& by_row, const LinearState& state,
                      std::int64_t chunk, const Mix& mix) {
  // A GPU has no cache to stay in, and waits for each launch.
  const std::int64_t slab_rows = by_row[0].is_cuda() ? 8192 : 1024;
  STRATA_CHECK(chunk >= 1);
  const std::int64_t rows = by_row[0].size(2), rest = rows % chunk;
  const std::int64_t slab = std::max<std::int64_t>(slab_rows / chunk, 1) * chunk;
  std::vector<std::int64_t> sizes;
  for (std::int64_t done = 0; done < rows - rest; done += sizes.back())
    sizes.push_back(std::min(slab, rows - rest - done));
  if (rest > 0) sizes.push_back(rest);

  // split, not narrow: the derivative of each narrow would be as long as the sequence.
  std::vector<std::vector<at::Tensor>> slabs;
  slabs.reserve(by_row.size());
  for (const at::Tensor& x : by_row) slabs.push_back(x.split_with_sizes(sizes, 2));
  std::vector<at::Tensor> outs;
  at::Tensor s = state.s_BHKV;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::vector<at::Tensor> chunks;
    chunks.reserve(slabs.size());
    for (const std::vector<at::Tensor>& x : slabs)
      chunks.push_back(x[i].to(s.scalar_type()).unflatten(2, {-1, std::min(chunk, sizes[i])}));
    const Mixed mixed = mix(chunks, s);
    outs.push_back(mixed.out_BHnCV.flatten(2, 3).to(by_row[0].scalar_type()));
    s = mixed.end_BHKV;
  }
  return {at::cat(outs, 2), {s}};
}

// A head's own decay within each chunk, as factors ≤ 1.
struct ChunkDecay {
  at::Tensor between_BHnCC;     // from row j (column) to row i ≥ j; 0 above
  at::Tensor from_start_BHnC1;  // of the chunk's start state in row i
  at::Tensor to_end_BHnC1;      // from row j to the chunk's last
  at::Tensor whole_BHn11;       // of the chunk's start state at its end
};

// Sums over (j, i] are taken each by itself: as differences of sums from the start, weak gates
// behind strong ones would lose their digits.
ChunkDecay decay_within(const at::Tensor& log_decay_BHnC) {
  const std::int64_t chunk = log_decay_BHnC.size(-1);
  const at::Tensor below =
      at::ones({chunk, chunk}, log_decay_BHnC.options().dtype(at::kBool)).tril(-1);
  const at::Tensor sums = at::where(below, log_decay_BHnC.unsqueeze(-1), 0.0).cumsum(-2);
  const at::Tensor from_start = log_decay_BHnC.cumsum(-1).exp().unsqueeze(-1);
  return {sums.masked_fill(below.transpose(0, 1), -std::numeric_limits<double>::infinity()).exp(),
          from_start, sums.select(-2, chunk - 1).exp().unsqueeze(-1),
          from_start.narrow(-2, chunk - 1, 1)};
}

struct Scan {
  at::Tensor starts_BHnKV;  // the state before each chunk
  at::Tensor end_BHKV;
};

Scan scan(const at::Tensor& decay_BHnK1, const at::Tensor& added_BHnKV, at::Tensor s) {
  // unbind, not select: see in_slabs.
  const std::vector<at::Tensor> decay = decay_BHnK1.unbind(2), added = added_BHnKV.unbind(2);
  std::vector<at::Tensor> starts;
  for (std::size_t n = 0; n < added.size(); ++n) {
    starts.push_back(s);
    s = s * decay[n] + added[n];
  }
  return {at::stack(starts, 2), s};
}

// The same where every chunk decays alike, as one product: state i is Σ_j exp(g (i − 1 − j))
// added_j over j < i, and exp(g i) times the first.
Scan scan_alike(const at::Tensor& log_decay_BH1, const at::Tensor& added_BHnKV,
                const at::Tensor& s_BHKV) {
  const std::int64_t n = added_BHnKV.size(2);
  const at::Tensor number = at::arange(n + 1, log_decay_BH1.options());
  // Chunks that lie between; j = 0 is the first state. Negative where j is not before i.
  const at::Tensor decay = decay_over(log_decay_BH1.unsqueeze(-1), number.unsqueeze(1) - number);
  const at::Tensor all = at::cat({s_BHKV.unsqueeze(2), added_BHnKV}, 2);
  const at::Tensor states =
      at::matmul(decay, all.flatten(3)).unflatten(3, {s_BHKV.size(2), s_BHKV.size(3)});
  return {states.narrow(2, 0, n), states.select(2, n).clone()};  // which lives on alone
}

// A row takes k uᵀ into the decayed state and reads.
LinearOutput take_row(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K, const at::Tensor& u_BH1V,
                      const at::Tensor& decayed_BHKV) {
  const at::Tensor s = decayed_BHKV + to_sums(k_BH1K).transpose(-1, -2) * to_sums(u_BH1V);
  return {at::matmul(to_sums(q_BH1K), s).to(q_BH1K.scalar_type()), {s}};
}

at::Tensor unit_vectors(const at::Tensor& x) {
  constexpr double kEpsilon = 1e-6;
  const at::Tensor wide = to_sums(x);
  return wide * at::rsqrt((wide * wide).sum(-1, /*keepdim=*/true) + kEpsilon);
}

Mixed mix_lightning(const std::vector<at::Tensor>& chunks, const at::Tensor& s_BHKV) {
  const at::Tensor &q = chunks[0], &k = chunks[1], &v = chunks[2];
  const at::Tensor log_decay_BH1C = chunks[3].narrow(2, 0, 1);  // the same in all
  const ChunkDecay decay = decay_within(log_decay_BH1C);
  const Scan states = scan_alike(log_decay_BH1C.sum(-1),
                                 at::matmul((k * decay.to_end_BHnC1).transpose(-1, -2), v), s_BHKV);
  const at::Tensor scores = at::matmul(q, k.transpose(-1, -2)) * decay.between_BHnCC;
  return {at::matmul(scores, v) + at::matmul(q * decay.from_start_BHnC1, states.starts_BHnKV),
          states.end_BHKV};
}

// The weight of key j in row i, Σ_d q_id k_jd exp(Σ_{j < t ≤ i} g_td), is no product of a factor of
// i and one of j unless a point between them is agreed on; from a chunk's start, the factor of j
// would be exp of a large positive number. So blocks of 1, 2, 4, … rows are joined in pairs: rows
// of the later block meet keys of the earlier one with the border between them as that point, and
// both factors are ≤ 1. Sums up to the border grow with the blocks by additions alone.
Mixed mix_gla(const std::vector<at::Tensor>& chunks, const at::Tensor& s_BHKV) {
  // Blocks of a power of two: rows past a chunk's end add nothing as keys and keep the state.
  const std::int64_t rows = chunks[0].size(3);
  const auto chunk = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(rows)));
  const auto filled = [&](const at::Tensor& x) {
    return chunk == rows ? x : at::constant_pad_nd(x, {0, 0, 0, chunk - rows}, 0);
  };
  const at::Tensor q = filled(chunks[0]), k = filled(chunks[1]), v = filled(chunks[2]);
  // Of log gates within a row's block: up to and with the row; behind the row.
  at::Tensor before = filled(chunks[3]), behind = at::zeros_like(before);
  at::Tensor out = (q * k).sum(-1, /*keepdim=*/true) * v;
  for (std::int64_t size = 1; size < chunk; size *= 2) {
    // [B, H, n, pairs, size, …] of the earlier and of the later blocks.
    const auto halves = [&](const at::Tensor& x) {
      return x.unflatten(3, {-1, 2, size}).unbind(4);
    };
    const auto joined = [](const at::Tensor& early, const at::Tensor& late) {
      return at::stack({early, late}, 4).flatten(3, 5);
    };
    const auto whole = [&](const at::Tensor& sums) { return sums.narrow(-2, size - 1, 1); };
    const auto before_2 = halves(before), behind_2 = halves(behind);
    const at::Tensor late_q = halves(q)[1] * before_2[1].exp();
    const at::Tensor early_k = halves(k)[0] * behind_2[0].exp();
    const at::Tensor read = at::matmul(at::matmul(late_q, early_k.transpose(-1, -2)), halves(v)[0]);
    out = out + joined(at::zeros_like(read), read);
    before = joined(before_2[0], before_2[1] + whole(before_2[0]));
    behind = joined(behind_2[0] + whole(before_2[1]), behind_2[1]);
  }
  const at::Tensor from_start = before.exp();
  const Scan states = scan(from_start.narrow(-2, chunk - 1, 1).transpose(-1, -2),
                           at::matmul((k * behind.exp()).transpose(-1, -2), v), s_BHKV);
  out = out + at::matmul(q * from_start, states.starts_BHnKV);
  return {out.narrow(3, 0, rows), states.end_BHKV};
}

// A row writes k uᵀ with u = β (v − (α S)ᵀ k), what the decayed state lacks of v. Within a chunk
// whose start state is S₀, a_i the decay from the start and d_ij that from row j to row i, the rows
// of U solve
//   u_i + Σ_{j < i} β_i d_ij (k_i · k_j) u_j = β_i v_i − β_i a_i S₀ᵀ k_i,
// a unit lower triangular system. Its right sides βV and βaK are known for all chunks at once; S₀
// is multiplied to the second in the loop over chunks.
Mixed mix_gated_deltanet(const std::vector<at::Tensor>& chunks, at::Tensor s_BHKV) {
  const at::Tensor q = unit_vectors(chunks[0]), k = unit_vectors(chunks[1]), &v = chunks[2];
  const ChunkDecay decay = decay_within(chunks[3]);
  const at::Tensor beta = chunks[4].unsqueeze(-1);
  const at::Tensor beta_k = beta * k, keys = k.transpose(-1, -2);
  const std::vector<at::Tensor> solved =
      at::linalg_solve_triangular(at::matmul(beta_k, keys) * decay.between_BHnCC,
                                  at::cat({beta * v, beta_k * decay.from_start_BHnC1}, -1),
                                  /*upper=*/false, /*left=*/true, /*unitriangular=*/true)
          .split_with_sizes({v.size(-1), k.size(-1)}, -1);
  const std::vector<at::Tensor> alone = solved[0].unbind(2), of_start = solved[1].unbind(2);
  const std::vector<at::Tensor> to_end = (k * decay.to_end_BHnC1).transpose(-1, -2).unbind(2);
  const std::vector<at::Tensor> whole = decay.whole_BHn11.unbind(2);
  std::vector<at::Tensor> starts, written;
  for (std::size_t n = 0; n < alone.size(); ++n) {
    starts.push_back(s_BHKV);
    written.push_back(alone[n] - at::matmul(of_start[n], s_BHKV));
    s_BHKV = s_BHKV * whole[n] + at::matmul(to_end[n], written.back());
  }
  const at::Tensor scores = at::matmul(q, keys) * decay.between_BHnCC;
  return {at::matmul(scores, at::stack(written, 2)) +
              at::matmul(q * decay.from_start_BHnC1, at::stack(starts, 2)),
          s_BHKV};
}

}  // namespace

at::ScalarType sum_type(at::ScalarType inputs) {
  return inputs == at::kDouble ? at::kDouble : at::kFloat;
}

LinearState LinearState::zeros(std::int64_t batch, std::int64_t heads, std::int64_t key_size,
                               std::int64_t value_size, const at::TensorOptions& inputs) {
  const at::ScalarType type = sum_type(c10::typeMetaToScalarType(inputs.dtype()));
  return {at::zeros({batch, heads, key_size, value_size}, inputs.dtype(type))};
}

std::uint64_t LinearState::bytes() const { return bytes_of(s_BHKV); }

LinearOutput lightning(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK, const at::Tensor& v_BHNV,
                       const at::Tensor& log_decay_H, const LinearState& state,
                       std::int64_t chunk) {
  check_shapes(q_BHNK, k_BHNK, v_BHNV, state);
  const std::int64_t heads = q_BHNK.size(1), rows = q_BHNK.size(2);
  STRATA_CHECK(log_decay_H.dim() == 1 && log_decay_H.size(0) == heads);
  if (q_BHNK.is_cuda() && !c10::GradMode::is_enabled()) {
    const bool tensor_cores = c10::isReducedFloatingType(q_BHNK.scalar_type());
    return lightning_in_place(
        q_BHNK, k_BHNK, v_BHNV, log_decay_H, state,
        tensor_cores ? 2 * chunk : chunk);  // which larger products fill better
  }
  const at::Tensor log_decay_BHN =
      log_decay_H.to(state.s_BHKV.scalar_type()).view({1, heads, 1}).expand({1, heads, rows});
  return in_slabs({q_BHNK, k_BHNK, v_BHNV, log_decay_BHN}, state, chunk, mix_lightning);
}

LinearOutput lightning_step(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K,
                            const at::Tensor& v_BH1V, const at::Tensor& log_decay_H,
                            const LinearState& state) {
  check_shapes(q_BH1K, k_BH1K, v_BH1V, state);
  STRATA_CHECK(q_BH1K.size(2) == 1);
  const at::Tensor decay = log_decay_H.to(state.s_BHKV.scalar_type()).exp().view({-1, 1, 1});
  return take_row(q_BH1K, k_BH1K, v_BH1V, state.s_BHKV * decay);
}

LinearOutput gla(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK, const at::Tensor& v_BHNV,
                 const at::Tensor& log_gate_BHNK, const LinearState& state, std::int64_t chunk) {
  check_shapes(q_BHNK, k_BHNK, v_BHNV, state);
  STRATA_CHECK(log_gate_BHNK.sizes() == q_BHNK.sizes());
  return in_slabs({q_BHNK, k_BHNK, v_BHNV, log_gate_BHNK}, state, chunk, mix_gla);
}

LinearOutput gla_step(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K, const at::Tensor& v_BH1V,
                      const at::Tensor& log_gate_BH1K, const LinearState& state) {
  check_shapes(q_BH1K, k_BH1K, v_BH1V, state);
  STRATA_CHECK(q_BH1K.size(2) == 1 && log_gate_BH1K.sizes() == q_BH1K.sizes());
  const at::Tensor gate = log_gate_BH1K.to(state.s_BHKV.scalar_type()).exp();
  return take_row(q_BH1K, k_BH1K, v_BH1V, state.s_BHKV * gate.transpose(-1, -2));
}

LinearOutput gated_deltanet(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK,
                            const at::Tensor& v_BHNV, const at::Tensor& log_decay_BHN,
                            const at::Tensor& beta_BHN, const LinearState& state,
                            std::int64_t chunk) {
  check_shapes(q_BHNK, k_BHNK, v_BHNV, state);
  STRATA_CHECK(log_decay_BHN.sizes() == q_BHNK.sizes().slice(0, 3));
  STRATA_CHECK(beta_BHN.sizes() == log_decay_BHN.sizes());
  return in_slabs({q_BHNK, k_BHNK, v_BHNV, log_decay_BHN, beta_BHN}, state, chunk,
                  mix_gated_deltanet);
}

LinearOutput gated_deltanet_step(const at::Tensor& q_BH1K, const at::Tensor& k_BH1K,
                                 const at::Tensor& v_BH1V, const at::Tensor& log_decay_BH1,
                                 const at::Tensor& beta_BH1, const LinearState& state) {
  check_shapes(q_BH1K, k_BH1K, v_BH1V, state);
  STRATA_CHECK(q_BH1K.size(2) == 1 && log_decay_BH1.sizes() == q_BH1K.sizes().slice(0, 3));
  STRATA_CHECK(beta_BH1.sizes() == log_decay_BH1.sizes());
  const at::ScalarType type = state.s_BHKV.scalar_type();
  const at::Tensor k = unit_vectors(k_BH1K);
  const at::Tensor decayed = state.s_BHKV * log_decay_BH1.to(type).exp().unsqueeze(-1);
  const at::Tensor u = beta_BH1.to(type).unsqueeze(-1) * (to_sums(v_BH1V) - at::matmul(k, decayed));
  LinearOutput result = take_row(unit_vectors(q_BH1K), k, u, decayed);
  result.out_BHNV = result.out_BHNV.to(q_BH1K.scalar_type());
  return result;
}

ConvolutionState ConvolutionState::zeros(std::int64_t batch, std::int64_t width,
                                         std::int64_t channels, const at::TensorOptions& inputs) {
  return {at::zeros({batch, width - 1, channels}, inputs)};
}

std::uint64_t ConvolutionState::bytes() const { return bytes_of(tail_BWC); }

ConvolutionOutput short_convolution(const at::Tensor& x_BNC, const at::Tensor& weight_CW,
                                    const ConvolutionState& state) {
  STRATA_CHECK(x_BNC.dim() == 3 && weight_CW.dim() == 2 && weight_CW.size(0) == x_BNC.size(2));
  const std::int64_t rows = x_BNC.size(1), width = weight_CW.size(1);
  STRATA_CHECK(rows >= 1 && state.tail_BWC.scalar_type() == x_BNC.scalar_type());
  STRATA_CHECK(state.tail_BWC.sizes() ==
               at::IntArrayRef({x_BNC.size(0), width - 1, x_BNC.size(2)}));
  const at::Tensor seen = at::cat({state.tail_BWC, x_BNC}, 1);
  const at::Tensor wide = to_sums(seen), weight = weight_CW.to(wide.scalar_type());
  at::Tensor sum = wide.narrow(1, 0, rows) * weight.select(1, 0);
  for (std::int64_t w = 1; w < width; ++w)
    sum = sum + wide.narrow(1, w, rows) * weight.select(1, w);
  // A copy: a view would keep all rows alive.
  return {at::silu(sum).to(x_BNC.scalar_type()), {seen.narrow(1, rows, width - 1).clone()}};
}

}  // namespace strata
