#include "models/mixers/mixer_speed.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <c10/core/GradMode.h>

#include "core/result.h"
#include "models/decoder/decoder.h"
#include "models/forward.h"
#include "models/mixers/attention.h"
#include "models/mixers/linear_attention.h"

namespace strata {
namespace {

struct Rows {
  at::Tensor q_BHND, k_BGND, v_BGND;
};

void run_softmax(const Rows& rows, const PaletteEntry& entry) {
  const std::int64_t count = rows.q_BHND.size(2);
  attend(rows.q_BHND, 0,
         {.sink_k_BGSD = {},
          .sink_v_BGSD = {},
          .tail_k_BGMD = rows.k_BGND,
          .tail_v_BGMD = rows.v_BGND,
          .tail_begin = 0},
         entry, count, at::empty_like(rows.q_BHND));
}

void run_linear(const Rows& rows, LinearKind kind) {
  const at::Tensor& q = rows.q_BHND;
  const at::TensorOptions wide = q.options().dtype(sum_type(q.scalar_type()));
  const LinearState state = LinearState::zeros(1, q.size(1), q.size(3), q.size(3), q.options());
  const auto gates = [&](at::IntArrayRef sizes) { return at::full(sizes, -0.05, wide); };
  switch (kind) {
    case LinearKind::kLightning:
      (void)lightning(q, rows.k_BGND, rows.v_BGND, gates({q.size(1)}), state);
      break;
    case LinearKind::kGla: (void)gla(q, rows.k_BGND, rows.v_BGND, gates(q.sizes()), state); break;
    case LinearKind::kGatedDeltaNet:
      (void)gated_deltanet(q, rows.k_BGND, rows.v_BGND, gates(q.sizes().slice(0, 3)),
                           at::full(q.sizes().slice(0, 3), 0.5, wide), state);
      break;
  }
}

}  // namespace

std::vector<double> mixer_seconds(const Model& model, const MixerSpec& mixer, std::int64_t rows,
                                  int repeats) {
  const at::NoGradGuard no_grad;
  const HeadLayout layout = model.layout();
  const auto* linear = std::get_if<LinearAttention>(&mixer);
  const auto drawn = [&](std::int64_t heads) {
    return at::randn({1, heads, rows, model.shape().head_dim}, model.decoder().options()) * 0.1;
  };
  const std::int64_t kv_heads = linear != nullptr ? layout.query_heads : layout.kv_heads;
  const Rows given{drawn(layout.query_heads), drawn(kv_heads), drawn(kv_heads)};
  const at::Device device = model.decoder().options().device();
  std::vector<double> seconds;
  for (int repeat = -1; repeat < repeats; ++repeat) {
    synchronize(device);
    const Stopwatch watch;
    if (linear != nullptr)
      run_linear(given, linear->kind);
    else
      run_softmax(given, {mixer});
    synchronize(device);
    if (repeat >= 0) seconds.push_back(watch.seconds());
  }
  return seconds;
}

}  // namespace strata
