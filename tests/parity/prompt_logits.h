// Logits of a prompt's rows [first_read, end) under a plan, in one chunk, on the CPU.
#pragma once

#include <memory>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/forward.h"
#include "models/model.h"

namespace strata::testing {

inline at::Tensor prompt_logits(const Model& model, const Tokens& tokens, const AttentionPlan& plan,
                                std::int64_t first_read) {
  const c10::InferenceMode inference;
  const Decoder& decoder = model.decoder();
  const at::Device device = decoder.options().device();
  const auto length = static_cast<std::int64_t>(tokens.size());
  std::vector<Segment> segments{
      {{0, length, length, first_read, false},
       std::make_shared<const BoundPlan>(plan, at::TensorOptions().device(device)),
       nullptr,
       {}}};
  segments[0].rows = plan_rows(plan, segments[0].chunk);
  const at::Tensor x = decoder.run_layers(decoder.embed(token_tensor(tokens, device)), 0,
                                          model.layout().layers, segments);
  return decoder.logits(x).to(at::kCPU).contiguous();
}

}  // namespace strata::testing
