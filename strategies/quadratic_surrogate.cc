#include <cmath>

#include "core/rng.h"
#include "strategies/builtin.h"
#include "strategies/gate_gradients.h"
#include "strategies/gate_path.h"
#include "strategies/mask_losses.h"
#include "strategies/mean_error.h"
#include "strategies/quadratic_fit.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

class QuadraticSurrogate final : public SelectionStrategy {
 public:
  explicit QuadraticSurrogate(QuadraticSurrogateConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override { return "quadratic_surrogate"; }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    const std::size_t units = units_in(request);
    Rng rng(request.seed, "quadratic surrogate");
    std::vector<std::vector<double>> points;
    for (const double gate : {0.0, 0.5, 1.0}) points.emplace_back(units, gate);
    for (int m = 0; m < config_.masks; ++m) {
      points.emplace_back(units, 0.0);
      for (const std::size_t unit : rng.sample(units, k)) points.back()[unit] = 1;
    }
    std::vector<std::size_t> samples = all_samples(*context.calibration);
    rng.shuffle(samples);
    const auto parts = rotating_parts(samples, config_.prompts, static_cast<int>(points.size()));
    std::vector<std::vector<double>> slopes;
    slopes.reserve(points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
      ASSIGN_OR_RETURN(const GateGradients here, gate_gradients(request, context, points[i],
                                                                parts[i], config_.activation_mib));
      slopes.push_back(here.mean_gain());
      for (double& slope : slopes.back()) slope = -slope;
    }
    const QuadraticFit fit = fit_quadratic(points, slopes);
    std::vector<std::vector<std::size_t>> starts(16);
    for (std::vector<std::size_t>& start : starts) start = rng.sample(units, k);
    Selection selection{.mask = Mask(request.granularity, request.layout, false)};
    for (const std::size_t unit : least_set(fit, k, starts))
      selection.mask = selection.mask.with(unit, true);
    selection.scores = plain_scores(loss_without(fit, selection.mask));
    selection.diagnostics["penalty"] = fit.penalty;
    selection.diagnostics["left_out_slopes_r2"] = fit.slopes_r2;
    RETURN_IF_ERROR(hold_out(request, context, fit, parts[0], k, rng, selection));
    return selection;
  }

 private:
  QuadraticSurrogateConfig config_;

  // What the quadratic says of each unit at the chosen set: the rise of the NLL without it.
  static std::vector<double> loss_without(const QuadraticFit& fit, const Mask& chosen) {
    std::vector<double> scores;
    for (std::size_t u = 0; u < chosen.size(); ++u) {
      double slope = fit.b[u];
      for (std::size_t v = 0; v < chosen.size(); ++v)
        if (chosen.at(v) && v != u) slope += fit.h[u][v];
      scores.push_back(-slope - 0.5 * fit.h[u][u]);
    }
    return scores;
  }

  // R² of random sets' NLL, up to a constant.
  Status hold_out(const SelectionRequest& request, SelectionContext& context,
                  const QuadraticFit& fit, const std::vector<std::size_t>& samples, std::size_t k,
                  Rng& rng, Selection& selection) const {
    if (config_.held_out == 0) return {};
    std::vector<MaskTrial> trials;
    std::vector<double> predicted, measured;
    for (int m = 0; m < config_.held_out; ++m) {
      std::vector<double> gates(selection.mask.size(), 0.0);
      Mask mask(request.granularity, request.layout, false);
      for (const std::size_t unit : rng.sample(gates.size(), k)) {
        gates[unit] = 1;
        mask = mask.with(unit, true);
      }
      predicted.push_back(fit.value(gates));
      trials.push_back({std::move(mask), samples});
    }
    ASSIGN_OR_RETURN(const std::vector<std::vector<double>> losses,
                     mask_losses(request, context, {})(trials));
    for (const std::vector<double>& loss : losses) measured.push_back(mean_error(loss).mean);
    const double level = mean_error(measured).mean - mean_error(predicted).mean;
    const double mean = mean_error(measured).mean;
    double error = 0, spread = 0;
    for (std::size_t m = 0; m < measured.size(); ++m) {
      error += std::pow(measured[m] - predicted[m] - level, 2);
      spread += std::pow(measured[m] - mean, 2);
    }
    selection.diagnostics["held_out_masks_r2"] =
        spread > 0 ? nlohmann::json(1 - error / spread) : nlohmann::json();
    return {};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const QuadraticSurrogateConfig& config) {
  return std::make_unique<QuadraticSurrogate>(config);
}

}  // namespace strata
