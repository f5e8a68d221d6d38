#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "strategies/builtin.h"
#include "strategies/mask_losses.h"
#include "strategies/mask_regression_fit.h"
#include "strategies/mean_error.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"

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
    ASSIGN_OR_RETURN(const Measured measured, measure(request, context, blocks, k));
    const std::size_t units = units_in(request);
    const auto pair_units = static_cast<std::size_t>(config_.pair_units);
    const MaskRegression fit = fit_masks(measured.observations, units, pair_units);
    Mask mask(request.granularity, request.layout, false);
    for (const std::size_t unit : best_set(fit, k)) mask = mask.with(unit, true);
    Selection selection{.mask = std::move(mask)};
    selection.diagnostics = diagnostics(fit, measured, blocks);
    const std::optional<double> r2 = held_out_r2(measured.observations, units, pair_units);
    selection.diagnostics["held_out_r2"] = r2 ? nlohmann::json(*r2) : nlohmann::json();
    selection.scores = scores_of(tensor_of(fit, measured, request, *context.calibration));
    selection.scores->standard_error = fit.standard_errors;
    return selection;
  }

 private:
  MaskRegressionConfig config_;

  // By mask: what the fit sees, and the prompts with their NLL that it is the mean of.
  struct Measured {
    std::vector<MaskObservation> observations;
    std::vector<std::vector<std::size_t>> samples;
    std::vector<std::vector<double>> nll;
  };

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
  Result<Measured> measure(const SelectionRequest& request, SelectionContext& context,
                           const std::vector<std::vector<std::size_t>>& blocks,
                           std::size_t k) const {
    Rng rng(request.seed, "mask regression masks");
    std::vector<MaskTrial> trials;
    Measured out;
    for (std::size_t m = 0; m < static_cast<std::size_t>(config_.masks); ++m) {
      Mask mask(request.granularity, request.layout, false);
      for (const std::size_t unit : rng.sample(mask.size(), k)) mask = mask.with(unit, true);
      out.samples.push_back(blocks[m % blocks.size()]);
      trials.push_back({std::move(mask), out.samples.back()});
    }
    const ActivationReuse reuse{config_.reuse, static_cast<std::uint64_t>(config_.reuse_mib) << 20};
    ASSIGN_OR_RETURN(out.nll, mask_losses(request, context, reuse)(trials));
    for (std::size_t m = 0; m < trials.size(); ++m) {
      // What is stored is what was fitted, and no longer than its noise.
      for (double& nll : out.nll[m]) nll = std::round(nll * 1e6) / 1e6;
      out.observations.push_back(
          {trials[m].mask.kept_units(), m % blocks.size(), mean_error(out.nll[m]).mean});
    }
    return out;
  }

  static ScoreTensor tensor_of(const MaskRegression& fit, const Measured& measured,
                               const SelectionRequest& request, const CalibrationSet& calibration) {
    const std::size_t count = calibration.samples.size();
    std::vector<double> nll(count, 0.0), times(count, 0.0);
    for (std::size_t m = 0; m < measured.samples.size(); ++m)
      for (std::size_t i = 0; i < measured.samples[m].size(); ++i) {
        nll[measured.samples[m][i]] += measured.nll[m][i];
        times[measured.samples[m][i]] += 1;
      }
    const std::vector<std::vector<double>> gains =
        sample_gains(fit, measured.observations, measured.samples, measured.nll, count);
    ScoreTensor tensor{.context = Mask(request.granularity, request.layout, false),
                       .kind = GainKind::kRegression};
    for (std::size_t i = 0; i < count; ++i) {
      tensor.samples.push_back(calibration.samples[i].id);
      tensor.clusters.push_back(calibration.samples[i].cluster);
      tensor.positions.push_back(1);
      tensor.context_nll.push_back(static_cast<float>(nll[i] / times[i]));
      for (const double gain : gains[i]) tensor.gains.push_back(static_cast<float>(gain));
    }
    return tensor;
  }

  nlohmann::json diagnostics(const MaskRegression& fit, const Measured& measured,
                             const std::vector<std::vector<std::size_t>>& blocks) const {
    nlohmann::json kept = nlohmann::json::array();
    for (const MaskObservation& observation : measured.observations)
      kept.push_back(observation.kept);
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
        {"trials",
         {{"kept", std::move(kept)}, {"prompts", measured.samples}, {"nll", measured.nll}}},
        {"left_out_error", fit.left_out_error}};
  }
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const MaskRegressionConfig& config) {
  return std::make_unique<MaskRegressionStrategy>(config);
}

}  // namespace strata
