#include "strategies/gate_gradients.h"

#include <numeric>

#include "strategies/shared_scores.h"

namespace strata {

GatedAttention gated_attention(const SelectionRequest& request) {
  return {.granularity = request.granularity,
          .kept = request.kept,
          .cheap = request.cheap,
          .rule = request.rule};
}

std::vector<double> GateGradients::mean_gain() const {
  std::vector<double> mean(gain.empty() ? 0 : gain[0].size(), 0.0);
  for (const std::vector<double>& row : gain)
    for (std::size_t u = 0; u < mean.size(); ++u) mean[u] += row[u];
  for (double& value : mean) value /= static_cast<double>(gain.size());
  return mean;
}

double GateGradients::mean_nll() const {
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

Result<GateGradients> gate_gradients(const SelectionRequest& request, SelectionContext& context,
                                     std::span<const double> gates,
                                     std::span<const std::size_t> samples,
                                     std::optional<std::int64_t> activation_mib) {
  STRATA_CHECK(!samples.empty());
  std::vector<GatedRequest> requests;
  for (const std::size_t index : samples) {
    const Sample& sample = context.calibration->samples[index];
    requests.push_back({.prompt = sample.prompt,
                        .answer = sample.answer,
                        .gates = gates,
                        .name = name_of(sample)});
  }
  Progress& progress = *context.progress;
  progress.begin("gradients of gates", static_cast<std::int64_t>(samples.size()));
  Result<std::vector<GatedGradient>> passes = gate_gradients(
      *context.model, gated_attention(request), requests,
      pass_limits(context.model->model(), activation_mib), progress,
      [&](std::size_t prompts) { progress.advance(static_cast<std::int64_t>(prompts)); });
  progress.end();
  if (!passes) return fail(std::move(passes).error());
  GateGradients out{.samples = {samples.begin(), samples.end()}};
  for (GatedGradient& pass : *passes) {
    out.nll.push_back(pass.loss);
    for (double& gain : pass.gradient) gain = -gain;
    out.gain.push_back(std::move(pass.gradient));
  }
  return out;
}

UnitScores scores_of(const GateGradients& gradients, const SelectionRequest& request,
                     const CalibrationSet& calibration) {
  ScoreTensor tensor{.context = Mask(request.granularity, request.layout, false),
                     .kind = GainKind::kSlope};
  for (std::size_t i = 0; i < gradients.samples.size(); ++i) {
    const Sample& sample = calibration.samples[gradients.samples[i]];
    tensor.samples.push_back(sample.id);
    tensor.clusters.push_back(sample.cluster);
    tensor.positions.push_back(1);
    tensor.context_nll.push_back(static_cast<float>(gradients.nll[i]));
    for (const double gain : gradients.gain[i]) tensor.gains.push_back(static_cast<float>(gain));
  }
  return scores_of(std::move(tensor));
}

}  // namespace strata
