// What mixers add to the stream, read by hooks: the twin of a loss that compares it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "models/decoder/decoder.h"
#include "models/forward.h"
#include "models/model.h"

namespace strata::testing {

struct MixerOutputs {
  std::vector<at::Tensor> out_NC, stream_NC;  // of each layer; the stream before it is added
};

// Of the last `rows` rows (0 = all) of a text without its last token, which nothing is read from,
// under a plan; what some layers add may be replaced.
inline MixerOutputs mixer_outputs(const Model& model, Tokens text, std::int64_t prompt_length,
                                  const AttentionPlan& plan, std::int64_t rows,
                                  const std::map<int, at::Tensor>& replaced = {}) {
  text.pop_back();
  const Decoder& decoder = model.decoder();
  const int layers = decoder.architecture().layers;
  const at::Device device = decoder.options().device();
  Segment segment{{0, static_cast<std::int64_t>(text.size()), prompt_length, 0, false},
                  std::make_shared<const BoundPlan>(plan, at::TensorOptions().device(device)),
                  nullptr,
                  {}};
  segment.rows = all_rows(plan, segment.chunk);
  ForwardHooks hooks;
  for (int layer = 0; layer < layers; ++layer) {
    hooks.captures.push_back({Site::kMixerOut, layer, {}, {}});
    hooks.captures.push_back({Site::kResidIn, layer, {}, {}});
    if (replaced.contains(layer))
      hooks.interventions.push_back({Site::kMixerOut, layer, -1, {}, replaced.at(layer)});
  }
  decoder.run_layers(decoder.embed(token_tensor(text, device)), 0, layers, std::span(&segment, 1),
                     &hooks);
  MixerOutputs outputs;
  for (std::size_t i = 0; i < hooks.captures.size(); ++i) {
    const at::Tensor& value = hooks.captures[i].value;
    (i % 2 == 0 ? outputs.out_NC : outputs.stream_NC)
        .push_back(rows == 0 ? value : value.narrow(0, value.size(0) - rows, rows));
  }
  return outputs;
}

}  // namespace strata::testing
