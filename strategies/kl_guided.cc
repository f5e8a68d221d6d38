#include "strategies/builtin.h"
#include "strategies/nll_scorer.h"

namespace strata {
namespace {

class KlGuided final : public SelectionStrategy {
 public:
  explicit KlGuided(KlGuidedConfig config) : config_(config) {}
  CalibrationNeeds needs() const override {
    return {.answers = !beyond_window(), .prompts = true, .model = true};
  }
  std::string label() const override {
    return fmt::format("kl_{}{}", config::enum_name(config_.mode),
                       beyond_window() ? "[beyond_window]" : "");
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    const ActivationReuse reuse{config_.reuse, static_cast<std::uint64_t>(config_.reuse_mib) << 20};
    const Measure measure =
        beyond_window() ? Measure::kDivergenceBeyondWindow : Measure::kAnswerDivergence;
    ASSIGN_OR_RETURN(
        SharedScores scored,
        score_all_units(request, context, config_.mode == NllMode::kRestore, reuse, measure));
    scored.diagnostics["measure"] = to_string(measure);
    return keep_highest(request, std::move(scored), k);
  }

 private:
  KlGuidedConfig config_;
  bool beyond_window() const { return config_.positions == KlPositions::kBeyondWindow; }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const KlGuidedConfig& config) {
  return std::make_unique<KlGuided>(config);
}

}  // namespace strata
