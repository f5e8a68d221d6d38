#include <limits>

#include "strategies/builtin.h"
#include "strategies/gate_gradients.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

class GradientAttribution final : public SelectionStrategy {
 public:
  explicit GradientAttribution(GradientAttributionConfig config) : config_(std::move(config)) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    if (config_.searcher == GradientSearcher::kGreedy) return "gradient_greedy";
    return fmt::format("gradient[{}]", fmt::join(config_.gates, ","));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    if (config_.searcher == GradientSearcher::kGreedy) return greedy(request, context, k);
    if (config_.gates.empty())
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.gates is empty; expected at least one value")
                      .with_hint("strategy.gates=[0.5]"));
    ASSIGN_OR_RETURN(SharedScores shared,
                     shared_scores(request, context,
                                   {{"method", "gradient_attribution"}, {"gates", config_.gates}},
                                   [&] { return score(request, context); }));
    return keep_highest(request, std::move(shared), k);
  }

 private:
  Result<Selection> greedy(const SelectionRequest& request, SelectionContext& context,
                           std::size_t k) {
    const std::vector<std::size_t> samples = all_samples(*context.calibration);
    Selection selection{.mask = Mask(request.granularity, request.layout, false)};
    std::vector<std::size_t> order;
    while (order.size() < k) {
      std::vector<double> gates(selection.mask.size(), 0.0);
      for (const std::size_t unit : order) gates[unit] = 1.0;
      ASSIGN_OR_RETURN(const GateGradients here,
                       gate_gradients(request, context, gates, samples, config_.activation_mib));
      std::vector<double> gains = here.mean_gain();
      if (order.empty()) selection.scores = scores_of(here, request, *context.calibration);
      for (const std::size_t unit : order) gains[unit] = -std::numeric_limits<double>::infinity();
      const std::size_t best = ranked(gains)[0];
      if (request.budget.mode == BudgetMode::kAtMost && !order.empty() && !(gains[best] > 0)) break;
      order.push_back(best);
      selection.mask = selection.mask.with(best, true);
    }
    selection.diagnostics["order"] = order;
    return selection;
  }

  // Means over the points.
  Result<SharedScores> score(const SelectionRequest& request, SelectionContext& context) {
    const std::vector<std::size_t> samples = all_samples(*context.calibration);
    const std::size_t units = units_in(request);
    const double share = 1.0 / static_cast<double>(config_.gates.size());
    GateGradients mean{
        .samples = samples,
        .nll = std::vector<double>(samples.size(), 0.0),
        .gain = std::vector<std::vector<double>>(samples.size(), std::vector<double>(units, 0.0))};
    for (const double gate : config_.gates) {
      ASSIGN_OR_RETURN(const GateGradients here,
                       gate_gradients(request, context, std::vector<double>(units, gate), samples,
                                      config_.activation_mib));
      for (std::size_t i = 0; i < samples.size(); ++i) {
        mean.nll[i] += share * here.nll[i];
        for (std::size_t u = 0; u < units; ++u) mean.gain[i][u] += share * here.gain[i][u];
      }
    }
    SharedScores entry{.scores = scores_of(mean, request, *context.calibration)};
    entry.diagnostics["gated_nll"] = mean.mean_nll();
    return entry;
  }

  GradientAttributionConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const GradientAttributionConfig& config) {
  return std::make_unique<GradientAttribution>(config);
}

}  // namespace strata
