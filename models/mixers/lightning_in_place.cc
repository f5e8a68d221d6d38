#include "models/mixers/lightning_in_place.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>

#include "core/result.h"

namespace strata {
namespace {

// Rows that are one product's batch at most: chunk states of a slab meet each other, which is
// quadratic in its chunks, and with the rows of all heads together the temporaries are 5 times 64
// MiB for heads of 128 halves.
constexpr std::int64_t kSlabRows = 1 << 15, kRowsAtOnce = 1 << 18;

// Of S heads, n chunks of C rows each: S·n chunks are a batch of products.
struct Chunks {
  at::Tensor q_XCK, k_XCK, v_XCV;  // X = S·n
  std::int64_t heads;
};

// a b, summed and left in `type`, which may be wider than theirs on a GPU.
at::Tensor product_in(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  return a.scalar_type() == type ? at::bmm(a, b) : at::bmm(a, b, type);
}

// Writes the rows' outputs, returns the state behind them.
at::Tensor mix(const Chunks& rows, const at::Tensor& log_decay_S11, const at::Tensor& s_SKV,
               at::Tensor out_XCV) {
  const auto& [q, k, v, heads] = rows;
  const std::int64_t chunk = q.size(1), chunks = q.size(0) / heads;
  const auto in_halves = [&](const at::Tensor& x) { return x.to(q.scalar_type()); };
  const auto by_head = [&](const at::Tensor& x) { return x.unflatten(0, {heads, chunks}); };
  const auto decay = [&](const at::Tensor& steps) {  // [S, 1, …] beside [S, n, …]
    return in_halves(decay_over(log_decay_S11, steps)).unsqueeze(1);
  };
  const at::Tensor row = at::arange(chunk, log_decay_S11.options());
  const at::Tensor late_k = (by_head(k) * decay(chunk - 1 - row.unsqueeze(1))).flatten(0, 1);
  at::Tensor added_SnM = at::bmm(late_k.transpose(1, 2), v).view({heads, chunks, -1});  // M = K·V

  // State c is Σ_j λ^(C (c − 1 − j)) added_j over j < c, and λ^(C c) times the first.
  const at::Tensor number = at::arange(chunks + 1, log_decay_S11.options());
  const at::Tensor decay_Scn = in_halves(
      decay_over(log_decay_S11 * chunk, number.unsqueeze(1) - 1 - number.narrow(0, 0, chunks)));
  const auto start_after = [&](std::int64_t count) {
    return s_SKV * decay_over(log_decay_S11, number.narrow(0, 0, 1) + chunk * count);
  };
  const at::Tensor end_SKV =
      product_in(decay_Scn.narrow(1, chunks, 1), added_SnM, s_SKV.scalar_type())
          .view(s_SKV.sizes()) +
      start_after(chunks);
  added_SnM.select(1, 0) += in_halves(start_after(1)).flatten(1);
  const at::Tensor starts_SnM = at::bmm(decay_Scn.narrow(1, 0, chunks), added_SnM);
  starts_SnM.select(1, 0).copy_(s_SKV.flatten(1));

  const at::Tensor scores_XCC = at::bmm(q, k.transpose(1, 2));
  by_head(scores_XCC) *= decay(row.unsqueeze(1) - row);
  at::bmm_out(out_XCV, scores_XCC, v);
  out_XCV.baddbmm_((by_head(q) * decay(row.unsqueeze(1) + 1)).flatten(0, 1),
                   starts_SnM.view({-1, q.size(2), v.size(2)}));
  return end_SKV;
}

}  // namespace

at::Tensor decay_over(const at::Tensor& log_decay, const at::Tensor& steps) {
  return at::where(steps > 0, log_decay * steps, 0.0)
      .masked_fill(steps < 0, -std::numeric_limits<double>::infinity())
      .exp();
}

LinearOutput lightning_in_place(const at::Tensor& q_BHNK, const at::Tensor& k_BHNK,
                                const at::Tensor& v_BHNV, const at::Tensor& log_decay_H,
                                const LinearState& state, std::int64_t chunk) {
  STRATA_CHECK(!c10::GradMode::is_enabled() && chunk >= 1);
  const std::int64_t batch = q_BHNK.size(0), all_rows = q_BHNK.size(2);
  const at::Tensor q = q_BHNK.flatten(0, 1), k = k_BHNK.flatten(0, 1), v = v_BHNV.flatten(0, 1);
  const at::Tensor log_decay_S11 =
      log_decay_H.to(state.s_BHKV.scalar_type()).repeat({batch}).view({-1, 1, 1});
  const at::Tensor out_SNV = at::empty(v.sizes(), v.options());
  const at::Tensor s_SKV = state.s_BHKV.flatten(0, 1).clone();
  const std::int64_t slab = std::max<std::int64_t>(kSlabRows / chunk, 1) * chunk;
  for (std::int64_t begin = 0, rows = 0; begin < all_rows; begin += rows) {
    rows = std::min(slab, all_rows - begin);
    if (rows > chunk) rows -= rows % chunk;  // what is left is a chunk of its own
    const std::int64_t at_once = std::max<std::int64_t>(kRowsAtOnce / rows, 1);
    for (std::int64_t head = 0; head < q.size(0); head += at_once) {
      const std::int64_t heads = std::min(at_once, q.size(0) - head);
      const auto here = [&](const at::Tensor& x) { return x.narrow(0, head, heads); };
      const auto in_chunks = [&](const at::Tensor& x) {  // which copies no rows that lie together
        return here(x).narrow(1, begin, rows).reshape({-1, std::min(chunk, rows), x.size(2)});
      };
      const at::Tensor target = here(out_SNV).narrow(1, begin, rows);
      const bool together = target.is_contiguous();
      const at::Tensor out_XCV =
          together ? in_chunks(out_SNV) : at::empty_like(in_chunks(v), v.options());
      here(s_SKV).copy_(mix({in_chunks(q), in_chunks(k), in_chunks(v), heads}, here(log_decay_S11),
                            here(s_SKV), out_XCV));
      if (!together) target.copy_(out_XCV.view(target.sizes()));
    }
  }
  return {out_SNV.view(v_BHNV.sizes()), {s_SKV.view(state.s_BHKV.sizes())}};
}

}  // namespace strata
