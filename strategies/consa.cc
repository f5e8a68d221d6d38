#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/config/binder.h"
#include "core/rng.h"
#include "strategies/builtin.h"
#include "strategies/hard_concrete.h"
#include "strategies/learned.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"
#include "strategies/signs.h"

namespace strata {
namespace {

// Units under one constraint.
struct ConstraintGroup {
  std::vector<std::size_t> units;
  double target = 0;  // share of windowed units, as far as the clamps let it go
  double lambda1 = 0, lambda2 = 0;
};

// min over logα, max over λ of E[task loss] + Σ_groups λ1 (ŝ − t) + λ2 (ŝ − t)².
class ConsaMasks final : public GateLearner {
 public:
  ConsaMasks(const ConsaConfig& config, std::vector<ConstraintGroup> groups, std::size_t units,
             std::uint64_t seed)
      : config_(config),
        concrete_{.beta = config.beta, .gamma = config.gamma, .zeta = config.zeta},
        groups_(std::move(groups)),
        seed_(seed),
        mask_adam_(units, {.beta2 = 0.95}),
        multiplier_adam_(2 * groups_.size(), {.beta2 = 0.95}) {
    Rng rng(seed, "consa start");
    for (std::size_t u = 0; u < units; ++u)
      log_alpha_.push_back(clamped(config.start + 0.01 * rng.normal()));
  }

  std::vector<double> gates(std::int64_t step, std::size_t pass) override {
    if (pass == 0) slopes_.clear();
    Rng rng(seed_, fmt::format("consa step {} pass {}", step, pass));
    std::vector<double> gates, slopes;
    constexpr double kEpsilon = 1e-6;
    for (const double log_alpha : log_alpha_) {
      const HardConcrete::Draw draw =
          concrete_.draw(log_alpha, kEpsilon + (1 - 2 * kEpsilon) * rng.uniform());
      gates.push_back(draw.z);
      slopes.push_back(draw.slope);
    }
    windowed_ = static_cast<double>(std::count(gates.begin(), gates.end(), 0.0)) /
                static_cast<double>(gates.size());
    slopes_.push_back(std::move(slopes));
    return gates;
  }

  nlohmann::json update(std::int64_t step, std::span<const GatedGradient> passes) override;
  nlohmann::json state() const override;
  Status restore(const nlohmann::json& state) override;

  double expected_sparsity(const ConstraintGroup& group) const {
    double open = 0;
    for (const std::size_t u : group.units) open += concrete_.open_probability(log_alpha_[u]);
    return 1 - open / static_cast<double>(group.units.size());
  }
  // The largest |ŝ − t′| of a group.
  double constraint_gap() const {
    double gap = 0;
    for (const ConstraintGroup& group : groups_)
      gap = std::max(gap, std::abs(expected_sparsity(group) - group.target));
    return gap;
  }
  std::vector<double> scores() const {
    std::vector<double> scores;
    for (const double log_alpha : log_alpha_) scores.push_back(concrete_.score(log_alpha));
    return scores;
  }
  const std::vector<double>& log_alpha() const { return log_alpha_; }
  // Answer NLL (or that of the text) under stochastic masks, mean over the last fifth of the steps.
  double late_nll() const { return late_nll_ / static_cast<double>(late_passes_); }

 private:
  double clamped(double value) const {
    return std::clamp(value, -concrete_.clamp, concrete_.clamp);
  }

  const ConsaConfig& config_;
  HardConcrete concrete_;
  std::vector<ConstraintGroup> groups_;
  std::uint64_t seed_;
  std::vector<double> log_alpha_;
  Adam mask_adam_, multiplier_adam_;
  std::vector<std::vector<double>> slopes_;  // ∂z/∂logα of the step's passes
  double windowed_ = 0;                      // share of units that the last draw closed
  double late_nll_ = 0;
  std::int64_t late_passes_ = 0;
};

nlohmann::json ConsaMasks::update(std::int64_t step, std::span<const GatedGradient> passes) {
  const auto steps = static_cast<double>(config_.training.steps);
  std::vector<double> gradient(log_alpha_.size(), 0.0);
  for (std::size_t i = 0; i < passes.size(); ++i) {
    for (std::size_t u = 0; u < gradient.size(); ++u)
      gradient[u] += passes[i].gradient[u] * slopes_[i][u] / static_cast<double>(passes.size());
    if (!is_late(step, config_.training.steps)) continue;
    late_nll_ += std::accumulate(passes[i].nll.begin(), passes[i].nll.end(), 0.0) /
                 static_cast<double>(passes[i].nll.size());
    ++late_passes_;
  }
  const double risen = config_.ramp > 0
                           ? std::min(1.0, (static_cast<double>(step) + 1) / (config_.ramp * steps))
                           : 1.0;
  std::vector<double> multipliers, ascent;
  double expected = 0, target = 0;
  for (const ConstraintGroup& group : groups_) {
    const double gap = expected_sparsity(group) - risen * group.target;
    const auto units = static_cast<double>(group.units.size());
    for (const std::size_t u : group.units)
      gradient[u] -= (group.lambda1 + 2 * group.lambda2 * gap) *
                     concrete_.open_probability_slope(log_alpha_[u]) / units;
    multipliers.insert(multipliers.end(), {group.lambda1, group.lambda2});
    ascent.insert(ascent.end(), {gap, gap * gap});
    expected += (gap + risen * group.target) * units / static_cast<double>(log_alpha_.size());
    target += risen * group.target * units / static_cast<double>(log_alpha_.size());
  }
  mask_adam_.step(log_alpha_, gradient, config_.mask_rate);
  for (double& value : log_alpha_) value = clamped(value);
  multiplier_adam_.step(multipliers, ascent, -config_.multiplier_rate);
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    groups_[g].lambda1 = multipliers[2 * g];
    groups_[g].lambda2 = multipliers[2 * g + 1];
  }
  return {{"expected_sparsity", expected},
          {"realised_sparsity", windowed_},
          {"target", target},
          {"lambda1", groups_[0].lambda1},
          {"lambda2", groups_[0].lambda2}};
}

nlohmann::json ConsaMasks::state() const {
  std::vector<double> multipliers;
  for (const ConstraintGroup& group : groups_)
    multipliers.insert(multipliers.end(), {group.lambda1, group.lambda2});
  return {{"log_alpha", log_alpha_},
          {"multipliers", multipliers},
          {"mask_adam", mask_adam_.state()},
          {"multiplier_adam", multiplier_adam_.state()},
          {"late", {late_nll_, static_cast<double>(late_passes_)}}};
}

Status ConsaMasks::restore(const nlohmann::json& state) {
  ASSIGN_OR_RETURN(log_alpha_, numbers_of(state, "log_alpha", log_alpha_.size()));
  ASSIGN_OR_RETURN(const std::vector<double> multipliers,
                   numbers_of(state, "multipliers", 2 * groups_.size()));
  ASSIGN_OR_RETURN(const std::vector<double> late, numbers_of(state, "late", 2));
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    groups_[g].lambda1 = multipliers[2 * g];
    groups_[g].lambda2 = multipliers[2 * g + 1];
  }
  late_nll_ = late[0];
  late_passes_ = static_cast<std::int64_t>(late[1]);
  for (const char* adam : {"mask_adam", "multiplier_adam"})
    if (!state.contains(adam)) return fail(ErrorKind::kInvalidFile, "no \"{}\"", adam);
  RETURN_IF_ERROR(mask_adam_.restore(state["mask_adam"]));
  return multiplier_adam_.restore(state["multiplier_adam"]);
}

class Consa final : public SelectionStrategy {
 public:
  explicit Consa(ConsaConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return fmt::format("consa[{}{}{}]", config::enum_name(config_.loss),
                       config_.scope == ConsaScope::kPerLayer ? ",per_layer" : "",
                       config_.train_weights ? ",trained" : "");
  }
  std::string group() const override { return label(); }
  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override;

 private:
  Status check_weights(const SelectionRequest& request, const SelectionContext& context) const;
  Result<std::vector<ConstraintGroup>> groups(const SelectionRequest& request, std::size_t k) const;
  Mask rounded(const SelectionRequest& request, const std::vector<double>& scores,
               std::size_t k) const;

  ConsaConfig config_;
};

Status Consa::check_weights(const SelectionRequest& request,
                            const SelectionContext& context) const {
  if (!config_.train_weights) return {};
  RETURN_IF_ERROR(check_weight_training(request.cheap));
  if (context.trainer == nullptr)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "strategy.train_weights=true needs a place for the trained weights")
                    .with_hint("`strata train -o DIR strategy=consa strategy.train_weights=true`"));
  if (config_.loss != ConsaLoss::kLm)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "strategy.loss is {}; weights are trained by loss=lm alone",
                           config::enum_name(config_.loss))
                    .with_hint("strategy.loss=lm"));
  return {};
}

Result<std::vector<ConstraintGroup>> Consa::groups(const SelectionRequest& request,
                                                   std::size_t k) const {
  const std::size_t units = units_in(request);
  const HardConcrete concrete{.beta = config_.beta, .gamma = config_.gamma, .zeta = config_.zeta};
  const auto layers = static_cast<std::size_t>(request.layout.layers);
  std::size_t count = 1;
  if (config_.scope == ConsaScope::kPerLayer) {
    if (request.granularity == Granularity::kLayer)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.scope=per_layer with granularity=layer: a layer has one "
                             "unit, so there is nothing to choose")
                      .with_hint("use granularity=kv_head, or scope=global"));
    if (k % layers != 0 && config_.remainder == ConsaRemainder::kError)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.scope=per_layer cannot keep {} of {} units equally in {} "
                             "layers",
                             k, units, layers)
                      .with_hint("choose budget.units as a multiple of the layers, or "
                                 "strategy.remainder=largest"));
    count = layers;
  }
  std::vector<ConstraintGroup> groups(count);
  const std::size_t each = units / count;
  for (std::size_t u = 0; u < units; ++u) groups[u / each].units.push_back(u);
  for (ConstraintGroup& group : groups)
    group.target = concrete.reachable_sparsity(static_cast<double>(k) / static_cast<double>(count),
                                               static_cast<double>(each));
  return groups;
}

// Exactly K: in a scope per layer, ⌊K/layers⌋ in each, then the highest scores that are left.
Mask Consa::rounded(const SelectionRequest& request, const std::vector<double>& scores,
                    std::size_t k) const {
  if (config_.scope == ConsaScope::kGlobal) return top_k(request, scores, k);
  Mask mask(request.granularity, request.layout, false);
  const auto layers = static_cast<std::size_t>(request.layout.layers);
  std::vector<std::size_t> left_in_layer(layers, k / layers);
  const std::vector<std::size_t> order = ranked(scores);
  const auto units = static_cast<std::size_t>(mask.units());
  for (const std::size_t u : order)
    if (left_in_layer[u / units] > 0) {
      mask = mask.with(u, true);
      --left_in_layer[u / units];
    }
  for (const std::size_t u : order)
    if (mask.kept() < k && !mask.at(u)) mask = mask.with(u, true);
  return mask;
}

Result<Selection> Consa::select(const SelectionRequest& request, SelectionContext& context) {
  RETURN_IF_ERROR(check_weights(request, context));
  ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
  ASSIGN_OR_RETURN(std::vector<ConstraintGroup> constraints, groups(request, k));
  LearningTask task{
      .method = "consa",
      .config = config::to_json(config_),
      .learning = config_.training,
      .attention = gated_attention(request),
      .loss = config_.loss == ConsaLoss::kDistillation ? PassLoss::kDivergence : PassLoss::kNll,
      .tokens = config_.loss == ConsaLoss::kLm ? LossTokens::kText : LossTokens::kAnswer};
  task.config["units_kept"] = k;
  if (config_.train_weights) task.weights = context.trainer;
  ConsaMasks masks(config_, std::move(constraints), units_in(request), request.seed);
  ASSIGN_OR_RETURN(nlohmann::json curve, learn(request, context, task, masks));
  UnitScores scores = plain_scores(masks.scores());
  Selection selection{.mask = rounded(request, scores.score, k)};
  selection.scores = std::move(scores);
  selection.training = std::move(curve);
  selection.diagnostics["weights"] = config_.train_weights ? "trained" : "frozen";
  selection.diagnostics["log_alpha"] = masks.log_alpha();
  selection.diagnostics["stochastic_nll"] = masks.late_nll();
  const double gap = masks.constraint_gap();
  selection.diagnostics["constraint_gap"] = gap;
  note(selection.diagnostics, constraint_check(gap));
  note(selection.diagnostics,
       clamp_check("log alpha", masks.log_alpha(), -HardConcrete{}.clamp, HardConcrete{}.clamp));
  return selection;
}

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const ConsaConfig& config) {
  return std::make_unique<Consa>(config);
}

}  // namespace strata
