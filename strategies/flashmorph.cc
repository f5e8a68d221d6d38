#include <algorithm>
#include <numeric>

#include "core/config/binder.h"
#include "strategies/builtin.h"
#include "strategies/learned.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"
#include "strategies/signs.h"

namespace strata {
namespace {

// Higher = kept first: by final gates, equal ones by what they would be without the clamp, then the
// lower unit first. Not above 0 where a gate is shut.
std::vector<double> ranks_of(const std::vector<double>& gates, const std::vector<double>& late) {
  std::vector<std::size_t> order(gates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(gates[a], late[a]) > std::pair(gates[b], late[b]);
  });
  const auto open = static_cast<double>(
      std::count_if(gates.begin(), gates.end(), [](double gate) { return gate > 0; }));
  std::vector<double> ranks(gates.size());
  for (std::size_t i = 0; i < order.size(); ++i) ranks[order[i]] = open - static_cast<double>(i);
  return ranks;
}

// Gates equal to the last one kept, where some of them are kept and some are not.
void note_ties(const Mask& mask, const std::vector<double>& gates, nlohmann::json& diagnostics) {
  double last = 1;
  for (const std::size_t unit : units_with(mask, true)) last = std::min(last, gates[unit]);
  std::size_t kept = 0, dropped = 0;
  for (std::size_t unit = 0; unit < gates.size(); ++unit)
    if (gates[unit] == last) ++(mask.at(unit) ? kept : dropped);
  if (dropped == 0) return;
  diagnostics["ties"] = {{"gate", last}, {"kept", kept}, {"dropped", dropped}};
  diagnostics["warning"] = fmt::format(
      "{} gates ended at {:.6g} and {} of them are kept: their order is noise; {} "
      "strategy.lambda",
      kept + dropped, last, kept, last > 0.5 ? "raise" : "lower");
}

class FlashMorph final : public SelectionStrategy {
 public:
  explicit FlashMorph(FlashMorphConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    std::vector<std::string_view> others;
    if (single()) others.push_back("single");
    if (config_.kept == FullStream::kMixed) others.push_back("mixed");
    if (config_.aligned == MorphAligned::kResidual) others.push_back("residual");
    if (config_.normalise == MorphNormalise::kPerLayer) others.push_back("per_layer");
    if (config_.positions == LossTokens::kText) others.push_back("text");
    return others.empty() ? "flashmorph" : fmt::format("flashmorph[{}]", fmt::join(others, ","));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    if (single() && config_.kept == FullStream::kMixed)
      return fail(make_error(ErrorKind::kInvalidArgument,
                             "strategy.kept=mixed with strategy.stream=single: expected teacher, "
                             "since a single stream is the teacher's")
                      .with_hint("leave strategy.kept out, or strategy.stream=two"));
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    const nlohmann::json config = config::to_json(config_);
    const nlohmann::json method = {
        {"method", "flashmorph"}, {"config", config}, {"seed", request.seed}};
    ASSIGN_OR_RETURN(SharedScores shared, shared_scores(request, context, method, [&] {
                       return train(request, context, config);
                     }));
    const std::vector<double> gates = shared.scores.score;
    const auto late = shared.diagnostics["late_means"].get<std::vector<double>>();
    Selection selection{.mask = top_k(request, ranks_of(gates, late), k),
                        .scores = std::move(shared.scores),
                        .diagnostics = std::move(shared.diagnostics),
                        .training = std::move(shared.training),
                        .reused_cost = shared.reused_cost};
    note(selection.diagnostics, spread_check("gates", gates));
    note(selection.diagnostics, clamp_check("gates", gates, 0, 1));
    note_ties(selection.mask, gates, selection.diagnostics);
    return selection;
  }

 private:
  bool single() const { return config_.stream == MorphStream::kSingle; }

  Result<SharedScores> train(const SelectionRequest& request, SelectionContext& context,
                             const nlohmann::json& config) const {
    LearningTask task{.method = "flashmorph",
                      .config = config,
                      .learning = config_.training,
                      .attention = gated_attention(request),
                      .loss = PassLoss::kAlignment,
                      .tokens = config_.positions,
                      .alignment = {.residual = config_.aligned == MorphAligned::kResidual,
                                    .normalised = config_.normalise == MorphNormalise::kPerLayer}};
    task.attention.kept_from_teacher = config_.kept == FullStream::kTeacher;
    task.attention.separate_layers = single();
    PlainGates learner(units_in(request), {.start = 1,
                                           .rate = config_.rate,
                                           .shape = config_.schedule,
                                           .steps = config_.training.steps,
                                           .regularisation = config_.lambda,
                                           .sum = true});
    SharedScores entry;
    ASSIGN_OR_RETURN(entry.training, learn(request, context, task, learner));
    entry.scores = plain_scores(learner.final_gates());
    entry.diagnostics["late_means"] = learner.late_means();
    return entry;
  }

  FlashMorphConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const FlashMorphConfig& config) {
  return std::make_unique<FlashMorph>(config);
}

}  // namespace strata
