#include "models/forward.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/tensor.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "models/cost.h"

namespace strata {

at::Tensor token_tensor(std::span<const TokenId> tokens, at::Device device) {
  return at::tensor(c10::ArrayRef<TokenId>(tokens.data(), tokens.size()), at::kInt).to(device);
}

void synchronize(at::Device device) {
  if (!device.is_cpu())
    c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

Meter times(Meter meter, std::int64_t count) {
  const auto factor = static_cast<double>(count);
  meter.forward_tokens *= factor;
  meter.layer_tokens *= factor;
  meter.backward_tokens *= factor;
  meter.flops *= factor;
  meter.evaluations *= count;
  meter.peak_bytes *= static_cast<std::uint64_t>(count);
  return meter;
}

void add_cost(Meter& meter, const ModelShape& shape, std::span<const Segment> segments,
              int first_layer) {
  for (const Segment& segment : segments) {
    const RunCost cost =
        run_cost(segment.plan->plan(), shape, segment.chunk, segment.rows, first_layer);
    const auto sequences = static_cast<double>(segment.batch);
    meter.flops += sequences * cost.flops.total();
    meter.layer_tokens += sequences * cost.layer_tokens;
    meter.forward_tokens += static_cast<double>(segment.rows_in(0));
  }
}

BatchState borrow(const BatchState& prefix, const BoundPlan& plan, int first_layer) {
  BatchState state;
  state.layers.resize(prefix.layers.size());
  for (std::size_t layer = static_cast<std::size_t>(first_layer); layer < prefix.layers.size();
       ++layer) {
    const KvStore& stored = prefix.layers[layer][0];
    const KvStore* const one = &stored;
    for (const StoreGroup& group : plan.layer(static_cast<int>(layer)).stores)
      state.layers[layer].push_back(group.kv_index.defined()
                                        ? KvStore::gather(std::span(&one, 1), stored.retention(),
                                                          group.kv_index, stored.length())
                                        : stored);
  }
  return state;
}

at::Tensor run_metered(const Decoder& decoder, const ModelShape& shape, at::Tensor x_NC,
                       int first_layer, std::span<Segment> segments, Meter& meter) {
  const Stopwatch watch;
  at::Tensor out =
      decoder.run_layers(std::move(x_NC), first_layer, shape.heads.layers, segments, nullptr);
  add_cost(meter, shape, segments, first_layer);
  synchronize(decoder.options().device());
  meter.seconds += watch.seconds();
  return out;
}

AnswerScore score_rows(const at::Tensor& logits_NV, std::span<const TokenId> targets) {
  const at::Tensor target = token_tensor(targets, logits_NV.device()).to(at::kLong).unsqueeze(1);
  const at::Tensor nll = (at::logsumexp(logits_NV, 1) - logits_NV.gather(1, target).squeeze(1))
                             .to(at::kCPU, at::kDouble);
  const at::Tensor best = logits_NV.argmax(1).to(at::kCPU, at::kInt);
  AnswerScore score;
  score.nll.assign(nll.const_data_ptr<double>(), nll.const_data_ptr<double>() + nll.numel());
  score.argmax.assign(best.const_data_ptr<TokenId>(),
                      best.const_data_ptr<TokenId>() + best.numel());
  return score;
}

}  // namespace strata
