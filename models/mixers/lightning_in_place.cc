#include "models/mixers/lightning_in_place.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>
#include <c10/core/GradMode.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "core/result.h"

namespace strata {
namespace {

// Rows of a slab at most: its chunks' states meet each other, which is quadratic in their number.
// Rows of all heads of a product: its temporaries are 5 times 128 MiB for heads of 128 halves.
constexpr std::int64_t kSlabRows = 1 << 16, kRowsAtOnce = 1 << 19;

// Of S heads, n chunks of C rows each: S·n chunks are a batch of products.
struct Chunks {
  at::Tensor q_XCK, k_XCK, v_XCV;  // X = S·n
  std::int64_t heads;
};

// a b, summed and left in `type`, which may be wider than theirs on a GPU.
at::Tensor product_in(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  return a.scalar_type() == type ? at::bmm(a, b) : at::bmm(a, b, type);
}

// What depends on the decays and the shape of a slab alone, of all S heads at once: a GPU waits for
// each launch, so all of it is parts of one tensor. Factors ≤ 1 in the type of the rows, where not
// said otherwise.
struct SlabDecay {
  at::Tensor late_S1C1;     // from a row to its chunk's last
  at::Tensor early_S1C1;    // of a chunk's start in a row
  at::Tensor between_S1CC;  // from row j (column) to row i ≥ j; 0 above
  // State c is Σ_j λ^(C (c − 1 − j)) added_j over j < c, and λ^(C c) times the first; the last is
  // the one behind the slab.
  at::Tensor states_Scn;
  at::Tensor chunk_S11, slab_S11;  // of a state, over a chunk and over all; in the state's type

  SlabDecay of(std::int64_t head, std::int64_t heads) const {
    const auto here = [&](const at::Tensor& x) { return x.narrow(0, head, heads); };
    return {here(late_S1C1),  here(early_S1C1), here(between_S1CC),
            here(states_Scn), here(chunk_S11),  here(slab_S11)};
  }
};

SlabDecay decay_of(const at::Tensor& log_decay_S, std::int64_t chunk, std::int64_t chunks,
                   at::ScalarType type) {
  const at::Tensor row = at::arange(chunk, log_decay_S.options());
  const at::Tensor start = at::arange(chunks + 1, log_decay_S.options()) * chunk;
  const at::Tensor steps = at::cat({chunk - 1 - row, row + 1, (row.unsqueeze(1) - row).flatten(),
                                    (start.unsqueeze(1) - (start.narrow(0, 1, chunks))).flatten(),
                                    start.narrow(0, chunks, 1)});
  const at::Tensor wide = decay_over(log_decay_S.unsqueeze(1), steps), all = wide.to(type);
  std::int64_t begin = 0;
  const auto next = [&](at::IntArrayRef sizes) {
    const std::int64_t size = c10::multiply_integers(sizes);
    return all.narrow(1, std::exchange(begin, begin + size), size).unflatten(1, sizes);
  };
  const auto of_state = [&](std::int64_t step) { return wide.narrow(1, step, 1).unsqueeze(2); };
  // Braces evaluate from left to right.
  return {next({1, chunk, 1}),
          next({1, chunk, 1}),
          next({1, chunk, chunk}),
          next({chunks + 1, chunks}).contiguous(),  // tensor cores want it aligned
          of_state(2 * chunk - 1),
          of_state(steps.size(0) - 1)};
}

// Writes the rows' outputs, returns the state behind them.
at::Tensor mix(const Chunks& rows, const SlabDecay& decay, const at::Tensor& s_SKV,
               at::Tensor out_XCV) {
  const at::Tensor &q = rows.q_XCK, &k = rows.k_XCK, &v = rows.v_XCV;
  const std::int64_t heads = rows.heads, chunks = q.size(0) / heads;
  const auto by_head = [&](const at::Tensor& x) { return x.unflatten(0, {heads, chunks}); };
  const at::Tensor late_k = (by_head(k) * decay.late_S1C1).flatten(0, 1);
  const at::Tensor added_SnM =  // M = K·V
      at::bmm(late_k.transpose(1, 2), v).view({heads, chunks, -1});
  at::Tensor end_SKV =
      product_in(decay.states_Scn.narrow(1, chunks, 1), added_SnM, s_SKV.scalar_type())
          .view(s_SKV.sizes()) +
      s_SKV * decay.slab_S11;
  added_SnM.select(1, 0) += (s_SKV * decay.chunk_S11).flatten(1);
  const at::Tensor starts_SnM = at::bmm(decay.states_Scn.narrow(1, 0, chunks), added_SnM);
  starts_SnM.select(1, 0).copy_(s_SKV.flatten(1));

  const at::Tensor scores_XCC = at::bmm(q, k.transpose(1, 2));
  by_head(scores_XCC) *= decay.between_S1CC;
  at::bmm_out(out_XCV, scores_XCC, v);
  out_XCV.baddbmm_((by_head(q) * decay.early_S1C1).flatten(0, 1),
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
  const at::Tensor log_decay_S = log_decay_H.to(state.s_BHKV.scalar_type()).repeat({batch});
  const at::Tensor out_SNV = at::empty(v.sizes(), v.options());
  const at::Tensor s_SKV = state.s_BHKV.flatten(0, 1).clone();
  const std::int64_t slab = std::max<std::int64_t>(kSlabRows / chunk, 1) * chunk;
  for (std::int64_t begin = 0, rows = 0; begin < all_rows; begin += rows) {
    rows = std::min(slab, all_rows - begin);
    if (rows > chunk) rows -= rows % chunk;  // what is left is a chunk of its own
    const std::int64_t size = std::min(chunk, rows);
    const SlabDecay decay = decay_of(log_decay_S, size, rows / size, q.scalar_type());
    const std::int64_t at_once = std::max<std::int64_t>(kRowsAtOnce / rows, 1);
    for (std::int64_t head = 0; head < q.size(0); head += at_once) {
      const std::int64_t heads = std::min(at_once, q.size(0) - head);
      const auto here = [&](const at::Tensor& x) { return x.narrow(0, head, heads); };
      const auto in_chunks = [&](const at::Tensor& x) {  // which copies no rows that lie together
        return here(x).narrow(1, begin, rows).reshape({-1, size, x.size(2)});
      };
      const at::Tensor target = here(out_SNV).narrow(1, begin, rows);
      const bool together = target.is_contiguous();
      const at::Tensor out_XCV =
          together ? in_chunks(out_SNV) : at::empty_like(in_chunks(v), v.options());
      here(s_SKV).copy_(mix({in_chunks(q), in_chunks(k), in_chunks(v), heads},
                            decay.of(head, heads), here(s_SKV), out_XCV));
      if (!together) target.copy_(out_XCV.view(target.sizes()));
    }
  }
  return {out_SNV.view(v_BHNV.sizes()), {s_SKV.view(state.s_BHKV.sizes())}};
}

}  // namespace strata
