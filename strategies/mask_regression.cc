#include <numeric>

#include "core/rng.h"
#include "strategies/builtin.h"
#include "strategies/mask_losses.h"
#include "strategies/mask_regression_fit.h"
#include "strategies/mean_error.h"

namespace strata {
namespace {

constexpr std::size_t kLeastMasksOfABlock = 4;

// Blocks of prompts: as many as hold all of them, each of `size`; in a drawn order, the last block
// filled up from the first.
std::vector<std::vector<std::size_t>> prompt_blocks(std::size_t prompts, std::size_t size,
                                                    std::uint64_t seed) {
  std::vector<std::size_t> order(prompts);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Rng(seed, "mask regression prompts").shuffle(order);
  std::vector<std::vector<std::size_t>> blocks((prompts + size - 1) / size);
  for (std::size_t b = 0; b < blocks.size(); ++b)
    for (std::size_t i = 0; i < size; ++i) blocks[b].push_back(order[(b * size + i) % prompts]);
  return blocks;
}

class MaskRegressionStrategy final : public SelectionStrategy {
 public:
  explicit MaskRegressionStrategy(MaskRegressionConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override { return "mask_regression"; }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    if (request.budget.mode == BudgetMode::kAtMost)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "budget.mode is at_most; expected exact: sets of one size do not tell "
                             "whether a unit gains anything, only whether it gains more than "
                             "another"));
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    ASSIGN_OR_RETURN(const std::vector<std::vector<std::size_t>> blocks,
                     blocks_for(context.calibration->samples.size(), request.seed));
    const std::size_t units = Mask(request.granularity, request.layout, false).size();
    ASSIGN_OR_RETURN(const std::vector<MaskObservation> observations,
                     observe(request, context, blocks, k));
    const auto pair_units = static_cast<std::size_t>(config_.pair_units);
    const MaskRegression fit = fit_masks(observations, units, pair_units);
    Mask mask(request.granularity, request.layout, false);
    for (const std::size_t unit : best_set(fit, k)) mask = mask.with(unit, true);
    Selection selection{.mask = std::move(mask)};
    selection.diagnostics = diagnostics(fit, blocks);
    const std::optional<double> r2 = held_out_r2(observations, units, pair_units);
    selection.diagnostics["held_out_r2"] = r2 ? nlohmann::json(*r2) : nlohmann::json();
    selection.scores =
        UnitScores{.score = fit.gains, .standard_error = fit.standard_errors, .tensor = nullptr};
    return selection;
  }

 private:
  MaskRegressionConfig config_;

  Result<std::vector<std::vector<std::size_t>>> blocks_for(std::size_t prompts,
                                                           std::uint64_t seed) const {
    const auto asked = static_cast<std::size_t>(config_.prompts_per_mask);
    const std::size_t size = asked == 0 ? (prompts + 7) / 8 : asked;
    if (size > prompts)
      return fail(ErrorKind::kInvalidArgument,
                  "strategy.prompts_per_mask is {}; expected at most the {} calibration prompts",
                  size, prompts);
    std::vector<std::vector<std::size_t>> blocks = prompt_blocks(prompts, size, seed);
    const auto masks = static_cast<std::size_t>(config_.masks);
    if (masks < kLeastMasksOfABlock * blocks.size())
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "{} masks on {} blocks of {} prompts; expected at least {} masks a "
                             "block",
                             masks, blocks.size(), size, kLeastMasksOfABlock)
                      .with_hint("raise strategy.prompts_per_mask or strategy.masks"));
    return blocks;
  }

  // Mask m on the prompts of block m modulo the blocks.
  Result<std::vector<MaskObservation>> observe(const SelectionRequest& request,
                                               SelectionContext& context,
                                               const std::vector<std::vector<std::size_t>>& blocks,
                                               std::size_t k) const {
    Rng rng(request.seed, "mask regression masks");
    std::vector<MaskTrial> trials;
    for (std::size_t m = 0; m < static_cast<std::size_t>(config_.masks); ++m) {
      Mask mask(request.granularity, request.layout, false);
      for (const std::size_t unit : rng.sample(mask.size(), k)) mask = mask.with(unit, true);
      trials.push_back({std::move(mask), blocks[m % blocks.size()]});
    }
    const ActivationReuse reuse{config_.reuse, static_cast<std::uint64_t>(config_.reuse_mib) << 20};
    ASSIGN_OR_RETURN(const std::vector<std::vector<double>> losses,
                     mask_losses(request, context, reuse)(trials));
    std::vector<MaskObservation> observations;
    for (std::size_t m = 0; m < trials.size(); ++m)
      observations.push_back(
          {trials[m].mask.kept_units(), m % blocks.size(), mean_error(losses[m]).mean});
    return observations;
  }

  nlohmann::json diagnostics(const MaskRegression& fit,
                             const std::vector<std::vector<std::size_t>>& blocks) const {
    nlohmann::json pairs = nlohmann::json::array();
    for (const PairGain& pair : fit.pairs)
      pairs.push_back({{"units", {pair.a, pair.b}}, {"gain", pair.gain}});
    return {
        {"masks", config_.masks},
        {"blocks", blocks.size()},
        {"prompts_per_mask", blocks[0].size()},
        {"penalty", fit.penalty},
        {"pair_penalty", fit.pair_penalty ? nlohmann::json(*fit.pair_penalty) : nlohmann::json()},
        {"pairs", std::move(pairs)},
        {"left_out_error", fit.left_out_error}};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const MaskRegressionConfig& config) {
  return std::make_unique<MaskRegressionStrategy>(config);
}

}  // namespace strata
