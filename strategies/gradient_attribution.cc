#include "strategies/builtin.h"
#include "strategies/gate_gradients.h"
#include "strategies/searcher.h"

namespace strata {
namespace {

class GradientAttribution final : public SelectionStrategy {
 public:
  explicit GradientAttribution(GradientAttributionConfig config) : config_(std::move(config)) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return fmt::format("gradient[{}]", fmt::join(config_.gates, ","));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    if (config_.gates.empty())
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.gates is empty; expected at least one value")
                      .with_hint("strategy.gates=[0.5]"));
    const std::vector<std::size_t> samples = all_samples(*context.calibration);
    GateGradients sum;
    for (const double gate : config_.gates) {
      const std::vector<double> gates(Mask(request.granularity, request.layout, false).size(),
                                      gate);
      ASSIGN_OR_RETURN(GateGradients here,
                       gate_gradients(request, context, gates, samples,
                                      static_cast<std::uint64_t>(config_.activation_mib) << 20));
      if (sum.samples.empty()) {
        sum = std::move(here);
        continue;
      }
      for (std::size_t i = 0; i < samples.size(); ++i) {
        sum.nll[i] += here.nll[i];
        for (std::size_t u = 0; u < gates.size(); ++u) sum.gain[i][u] += here.gain[i][u];
      }
    }
    const auto points = static_cast<double>(config_.gates.size());
    for (std::size_t i = 0; i < samples.size(); ++i) {
      sum.nll[i] /= points;
      for (double& gain : sum.gain[i]) gain /= points;
    }
    UnitScores scores = scores_of(sum, request, *context.calibration);
    Mask mask = top_k(request, scores.score, k);
    Selection selection{.mask = std::move(mask), .scores = std::move(scores)};
    selection.diagnostics["gated_nll"] = sum.mean_nll();
    return selection;
  }

 private:
  GradientAttributionConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const GradientAttributionConfig& config) {
  return std::make_unique<GradientAttribution>(config);
}

}  // namespace strata
