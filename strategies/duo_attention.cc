#include <algorithm>

#include "core/config/binder.h"
#include "strategies/builtin.h"
#include "strategies/learned.h"
#include "strategies/searcher.h"
#include "strategies/shared_scores.h"
#include "strategies/signs.h"

namespace strata {
namespace {

// Learns plain gates, whatever the budget, and keeps the K highest.
Result<Selection> learn_and_keep(const SelectionRequest& request, SelectionContext& context,
                                 const LearningTask& task, const PlainGates::Options& options) {
  ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
  const auto train = [&]() -> Result<SharedScores> {
    PlainGates learner(units_in(request), options);
    SharedScores entry;
    ASSIGN_OR_RETURN(entry.training, learn(request, context, task, learner));
    entry.scores = plain_scores(learner.late_means());
    entry.diagnostics["gates"] = learner.final_gates();
    return entry;
  };
  const nlohmann::json method = {
      {"method", task.method}, {"config", task.config}, {"seed", request.seed}};
  ASSIGN_OR_RETURN(SharedScores shared, shared_scores(request, context, method, train));
  Selection selection = keep_highest(request, std::move(shared), k);
  const auto gates = selection.diagnostics["gates"].get<std::vector<double>>();
  note(selection.diagnostics, spread_check("gates", gates));
  const auto open = static_cast<std::size_t>(std::count(gates.begin(), gates.end(), 1.0));
  if (open > k)
    selection.diagnostics["warning"] = fmt::format(
        "{} gates ended at 1 and {} are kept: their order is noise; raise strategy.lambda", open,
        k);
  return selection;
}

class DuoAttention final : public SelectionStrategy {
 public:
  explicit DuoAttention(DuoAttentionConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    return config_.fa_stream == FullStream::kTeacher ? "duo_attention" : "duo_attention[mixed]";
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    LearningTask task{.method = "duo_attention",
                      .config = config::to_json(config_),
                      .learning = config_.training,
                      .attention = gated_attention(request),
                      .loss = PassLoss::kHidden,
                      .tokens = config_.loss_on};
    task.attention.kept_from_teacher = config_.fa_stream == FullStream::kTeacher;
    if (auto* sliding = std::get_if<SlidingWindow>(&task.attention.cheap)) {
      sliding->window = config_.window.value_or(sliding->window);
      sliding->sinks = config_.sinks.value_or(sliding->sinks);
      RETURN_IF_ERROR(check_window(*sliding, *context.calibration));
    } else if (config_.window || config_.sinks) {
      return fail(make_error(ErrorKind::kUnsupported,
                             "strategy.window and strategy.sinks: {} has neither",
                             name_of(task.attention.cheap))
                      .with_hint("leave them null"));
    }
    return learn_and_keep(request, context, task,
                          {.start = 1,
                           .rate = config_.rate,
                           .shape = RateShape::kTrapezoid,
                           .steps = config_.training.steps,
                           .regularisation = config_.lambda,
                           .sum = config_.reg_reduction == GateReduction::kSum});
  }

 private:
  DuoAttentionConfig config_;

  // Where the strategy's own window sees all of every text, no gate has a slope.
  Status check_window(const SlidingWindow& trained, const CalibrationSet& calibration) const {
    if (!config_.window && !config_.sinks) return {};
    std::size_t longest = 0;
    for (const Sample& sample : calibration.samples)
      longest = std::max(longest, sample.prompt.size() + sample.answer.size());
    if (static_cast<std::int64_t>(longest) > trained.window + trained.sinks) return {};
    return fail(
        make_error(ErrorKind::kInvalidArgument,
                   "strategy.window + strategy.sinks: expected less than the longest "
                   "calibration text of {} tokens, got {} + {}, so that gates change nothing",
                   longest, trained.window, trained.sinks)
            .with_hint("a smaller strategy.window, or longer calibration prompts"));
  }
};

class Loza final : public SelectionStrategy {
 public:
  explicit Loza(LozaConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override { return "loza"; }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    const LearningTask task{.method = "loza",
                            .config = config::to_json(config_),
                            .learning = config_.training,
                            .attention = gated_attention(request),
                            .tokens = config_.loss};
    return learn_and_keep(request, context, task,
                          {.start = config_.start,
                           .rate = config_.rate,
                           .shape = RateShape::kConstant,
                           .steps = config_.training.steps});
  }

 private:
  LozaConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const DuoAttentionConfig& config) {
  return std::make_unique<DuoAttention>(config);
}
std::unique_ptr<SelectionStrategy> make_strategy(const LozaConfig& config) {
  return std::make_unique<Loza>(config);
}

}  // namespace strata
