#include "strategies/gate_path.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "strategies/builtin.h"
#include "strategies/gate_gradients.h"
#include "strategies/mask_losses.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"
#include "strategies/signs.h"
#include "strategies/swaps.h"

namespace strata {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double standard_deviation(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / n);
}

class GatePath final : public SelectionStrategy {
 public:
  explicit GatePath(GatePathConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    std::vector<std::string> differs;
    if (config_.start) differs.push_back(fmt::format("{}", *config_.start));
    if (config_.swap_rounds == 0) differs.emplace_back("no swaps");
    return differs.empty() ? "gate_path" : fmt::format("gate_path[{}]", fmt::join(differs, ","));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    std::vector<std::size_t> samples = all_samples(*context.calibration);
    Rng rng(request.seed, "gate_path");
    rng.shuffle(samples);
    const std::size_t units = units_in(request);
    std::vector<double> gates(
        units, config_.start.value_or(static_cast<double>(k) / static_cast<double>(units)));
    Selection selection{.mask = Mask(request.granularity, request.layout, false)};
    selection.training = nlohmann::json::array();
    double temperature = config_.temperature;
    GateGradients last;
    for (const std::vector<std::size_t>& part :
         rotating_parts(samples, config_.prompts, config_.rounds)) {
      ASSIGN_OR_RETURN(last, gate_gradients(request, context, gates, part, config_.activation_mib));
      selection.training.push_back({{"step", selection.training.size()},
                                    {"loss", last.mean_nll()},
                                    {"gates", gates},
                                    {"prompts", part.size()}});
      const std::vector<double> slopes = last.mean_gain();
      const double spread = standard_deviation(slopes);
      if (spread == 0)
        return fail(
            make_error(ErrorKind::kInvalidArgument,
                       "every gate has the same slope: full attention and {} do not differ on "
                       "these prompts",
                       name_of(request.cheap))
                .with_hint("use prompts longer than window + sinks"));
      const std::vector<double> moved =
          gates_of_sum(slopes, static_cast<double>(k), temperature * spread);
      for (std::size_t u = 0; u < units; ++u) gates[u] = 0.5 * (gates[u] + moved[u]);
      temperature *= 0.5;
    }
    selection.mask = top_k(request, gates, k);
    selection.diagnostics["gates"] = gates;
    note(selection.diagnostics, spread_check("gates", gates));
    selection.scores = scores_of(last, request, *context.calibration);
    if (config_.swap_rounds > 0)
      RETURN_IF_ERROR(refine(request, context, samples, gates, selection));
    return selection;
  }

 private:
  // Tries the weakest kept units, by their gates, against the strongest dropped ones.
  Status refine(const SelectionRequest& request, SelectionContext& context,
                std::span<const std::size_t> samples, const std::vector<double>& gates,
                Selection& selection) const {
    const SwapOptions options{.candidates = static_cast<std::size_t>(config_.swap_candidates),
                              .rounds = static_cast<std::size_t>(config_.swap_rounds),
                              .stages = static_cast<std::size_t>(config_.swap_stages)};
    ASSIGN_OR_RETURN(SwapOutcome outcome,
                     refine_by_swaps(selection.mask, gates, samples,
                                     mask_losses(request, context, {}), options));
    selection.diagnostics["swaps"] = to_json(outcome);
    note(selection.diagnostics, swap_check(outcome));
    selection.mask = std::move(outcome.mask);
    return {};
  }

  GatePathConfig config_;
};

}  // namespace

std::vector<double> gates_of_sum(std::span<const double> slopes, double k, double temperature) {
  const auto gates_at = [&](double threshold) {
    std::vector<double> gates;
    for (const double slope : slopes) gates.push_back(sigmoid((slope - threshold) / temperature));
    return gates;
  };
  const auto [least, most] = std::minmax_element(slopes.begin(), slopes.end());
  double low = *least - 50 * temperature, high = *most + 50 * temperature;  // all open, all closed
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = 0.5 * (low + high);
    const std::vector<double> gates = gates_at(middle);
    (std::accumulate(gates.begin(), gates.end(), 0.0) > k ? low : high) = middle;
  }
  return gates_at(0.5 * (low + high));
}

std::vector<std::vector<std::size_t>> rotating_parts(std::span<const std::size_t> samples,
                                                     double share, int rounds) {
  const auto count = std::clamp<std::size_t>(
      static_cast<std::size_t>(std::ceil(share * static_cast<double>(samples.size()))), 1,
      samples.size());
  std::vector<std::vector<std::size_t>> parts;
  std::size_t next = 0;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::size_t>& part = parts.emplace_back();
    for (std::size_t i = 0; i < count; ++i) part.push_back(samples[next++ % samples.size()]);
  }
  return parts;
}

std::unique_ptr<SelectionStrategy> make_strategy(const GatePathConfig& config) {
  return std::make_unique<GatePath>(config);
}

}  // namespace strata
