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
                                     std::uint64_t memory_bytes) {
  const GatedAttention attention = gated_attention(request);
  const std::uint64_t memory = memory_bytes / static_cast<std::uint64_t>(context.model->workers());
  GateGradients out{.samples = {samples.begin(), samples.end()},
                    .nll = std::vector<double>(samples.size()),
                    .gain = std::vector<std::vector<double>>(samples.size())};
  RETURN_IF_ERROR(for_each_calibration_sample(
      context, "gradients of gates", samples, [&](MeteredModel& model, std::size_t i) -> Status {
        const Sample& sample = context.calibration->samples[samples[i]];
        ASSIGN_OR_RETURN(
            GatedGradient here,
            gate_gradient(model, attention,
                          {.prompt = sample.prompt, .answer = sample.answer, .gates = gates},
                          memory));
        out.nll[i] = here.loss;
        out.gain[i] = std::move(here.gradient);
        for (double& gain : out.gain[i]) gain = -gain;
        return {};
      }));
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
