#include "models/self_patch.h"

#include <ATen/TensorOperators.h>

#include <algorithm>

#include "models/forward.h"

namespace strata {

Result<double> self_patch_change(MeteredModel& model, std::span<const TokenId> tokens) {
  const auto count = static_cast<std::int64_t>(tokens.size());
  const AttentionPlan full = AttentionPlan::full(model.layout());
  RETURN_IF_ERROR(model.check(tokens, count, full));
  return guarded([&]() -> Result<double> {
    const Decoder& decoder = model.model().decoder();
    const at::Device device = decoder.options().device();
    const Stopwatch watch;
    const Chunk chunk{
        .begin = 0, .end = count, .prompt_length = count, .first_read = count, .retain = false};
    std::vector<LayerRows> rows = all_rows(full, chunk);
    rows.back().out_begin = 0;
    Segment segment{chunk, decoder.bind(full), nullptr, {}};
    double change = 0;
    at::Tensor x_NC = decoder.embed(token_tensor(tokens, device));
    // Layer by layer: only one layer's activations are there at once.
    for (int layer = 0; layer < model.layout().layers; ++layer) {
      segment.rows = {rows[static_cast<std::size_t>(layer)]};
      const auto run = [&](ForwardHooks& hooks) {
        return decoder.run_layers(x_NC, layer, layer + 1, std::span(&segment, 1), &hooks);
      };
      ForwardHooks reading, writing;
      for (const Site site : {Site::kResidIn, Site::kQ, Site::kK, Site::kV, Site::kHeadOut,
                              Site::kMixerOut, Site::kMlpOut})
        reading.captures.push_back({site, layer, {}, {}});
      at::Tensor clean_NC = run(reading);
      for (const Capture& capture : reading.captures)
        writing.interventions.push_back({capture.site, layer, -1, {}, capture.value});
      const at::Tensor patched_NC = run(writing);
      change = std::max(change, (patched_NC - clean_NC).abs().max().item<double>());
      x_NC = std::move(clean_NC);
    }
    Meter meter;
    segment.rows = rows;
    for (int runs = 0; runs < 2; ++runs)
      add_cost(meter, model.model().shape(), std::span(&segment, 1), 0);
    meter.seconds = watch.seconds();
    model.absorb(meter);
    return change;
  });
}

}  // namespace strata
