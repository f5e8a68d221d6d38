#include "models/decoder/experts.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

namespace strata {
namespace {

// Columns alternate: gate, up, gate, up, …
at::Tensor clamped_swiglu(const at::Tensor& gate_up_MI, const ExpertMixture& mixture) {
  const auto every_second = [&](std::int64_t first) {
    return gate_up_MI.slice(1, first, std::nullopt, 2);
  };
  const at::Tensor gate = every_second(0).clamp_max(mixture.limit);
  const at::Tensor up = every_second(1).clamp(-mixture.limit, mixture.limit);
  return (up + 1) * (gate * at::sigmoid(gate * mixture.gate_slope));
}

}  // namespace

at::Tensor run_experts(const at::Tensor& x_NC, const ExpertWeights& w,
                       const ExpertMixture& mixture) {
  const at::Tensor logits_NE = at::linear(x_NC, w.router, w.router_bias);
  const auto [best_NK, expert_NK] = at::topk(logits_NE, mixture.per_token);
  const at::Tensor share = at::softmax(best_NK, -1).flatten();  // of a run: a row in one expert

  // Runs of one expert stand together, in the order of their rows.
  const at::Tensor run = at::argsort(expert_NK.flatten(), /*stable=*/true);
  const at::Tensor row = run.floor_divide(mixture.per_token);
  const at::Tensor counts =
      at::bincount(expert_NK.flatten(), std::nullopt, mixture.count).to(at::kCPU);
  at::Tensor out_NC = at::zeros_like(x_NC);
  std::int64_t begin = 0;
  for (std::int64_t expert = 0; expert < mixture.count; ++expert) {
    const std::int64_t count = counts.const_data_ptr<std::int64_t>()[expert];
    if (count == 0) continue;
    const at::Tensor rows = row.narrow(0, begin, count);
    const at::Tensor shares = share.index_select(0, run.narrow(0, begin, count)).unsqueeze(1);
    const at::Tensor gate_up_MI = at::addmm(
        w.gate_up_bias.select(0, expert), x_NC.index_select(0, rows), w.gate_up.select(0, expert));
    const at::Tensor part_MC =
        at::addmm(w.down_bias.select(0, expert), clamped_swiglu(gate_up_MI, mixture),
                  w.down.select(0, expert));
    // An expert takes a row once, so that the sum has one order on a GPU too.
    out_NC.index_add_(0, rows, part_MC * shares);
    begin += count;
  }
  return out_NC;
}

}  // namespace strata
