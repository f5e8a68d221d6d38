#include "tests/unit/models/device_test.h"

#include <ATen/Context.h>

namespace strata::testing {

void DeviceTest::SetUp() {
  if (device().is_cuda() && !at::hasCUDA()) GTEST_SKIP() << "this machine shows no CUDA device";
}

Weights to_device(Weights weights, at::Device device) {
  const auto move = [&](at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.to(device);
  };
  for (at::Tensor* tensor : {&weights.embedding, &weights.final_norm, &weights.lm_head,
                             &weights.inverse_frequencies, &weights.local_inverse_frequencies})
    move(*tensor);
  for (LayerWeights& l : weights.layers)
    for (at::Tensor* tensor : {&l.input_norm,
                               &l.mlp_norm,
                               &l.mixer_out_norm,
                               &l.mlp_out_norm,
                               &l.q,
                               &l.k,
                               &l.v,
                               &l.o,
                               &l.q_bias,
                               &l.k_bias,
                               &l.v_bias,
                               &l.o_bias,
                               &l.q_norm,
                               &l.k_norm,
                               &l.sink_logits,
                               &l.gate,
                               &l.up,
                               &l.down,
                               &l.experts.router,
                               &l.experts.router_bias,
                               &l.experts.gate_up,
                               &l.experts.gate_up_bias,
                               &l.experts.down,
                               &l.experts.down_bias})
      move(*tensor);
  return weights;
}

}  // namespace strata::testing
