#include <memory>
#include <optional>

#include "models/parallel.h"
#include "models/training/supernet_training.h"
#include "strategies/builtin.h"
#include "strategies/nll_scorer.h"
#include "strategies/searcher.h"
#include "strategies/text_pieces.h"

namespace strata {
namespace {

class PostNas final : public SelectionStrategy {
 public:
  explicit PostNas(PostNasConfig config) : config_(config) {}
  CalibrationNeeds needs() const override { return {.answers = true, .model = true}; }
  std::string label() const override {
    std::string marks;
    if (config_.steps == 0) marks += ",frozen";
    if (by_accuracy()) marks += ",accuracy";
    return marks.empty() ? "postnas" : fmt::format("postnas[{}]", marks.substr(1));
  }
  std::string group() const override { return label(); }

  Result<Selection> select(const SelectionRequest& request, SelectionContext& context) override {
    if (request.granularity != Granularity::kLayer)
      return fail(make_error(ErrorKind::kUnsupported, "postnas keeps whole layers, not {}s",
                             to_string(request.granularity))
                      .with_hint("granularity=layer"));
    ASSIGN_OR_RETURN(const std::size_t k, units_of(request));
    if (config_.steps == 0) return search(request, context, k);

    const auto* cheap = std::get_if<LinearAttention>(&request.cheap);
    if (cheap == nullptr)
      return fail(make_error(ErrorKind::kUnsupported,
                             "postnas trains linear branches; {} has nothing to train",
                             name_of(request.cheap))
                      .with_hint("strategy.steps=0, or mixer=linear_attention with "
                                 "model.branches"));
    nlohmann::json curve;
    const Model& model = context.model->model();
    ASSIGN_OR_RETURN(const AttentionPlan none,
                     request.plan(Mask(request.granularity, request.layout, false)));
    RETURN_IF_ERROR(model.check_mixers(none));
    SupernetTrainer trainer(model, *cheap,
                            {.steps = config_.steps,
                             .full = config_.full,
                             .rate = config_.rate,
                             .last_rate = config_.rate / 10,
                             .seed = request.seed});
    {
      const AllThreads threads(*context.model);
      ASSIGN_OR_RETURN(const TextPieces texts,
                       text_pieces(*context.calibration, config_.length, 0));
      ASSIGN_OR_RETURN(curve, train_on_texts(*context.model, texts.training,
                                             {.title = "training a supernet",
                                              .steps = config_.steps,
                                              .batch = config_.batch,
                                              .seed = request.seed,
                                              .checkpoint = {},
                                              .identity = {}},
                                             trainer, *context.progress));
    }
    // The search runs the supernet, and what it costs is this selection's.
    MeteredModel supernet(trainer.supernet(), context.model->limits(), context.model->workers());
    SelectionContext inside = context;
    inside.model = &supernet;
    Result<Selection> selection = search(request, inside, k);
    context.model->absorb(supernet.meter());
    if (!selection) return selection;
    selection->training = std::move(curve);
    return selection;
  }

 private:
  bool by_accuracy() const { return config_.objective == PostNasObjective::kAccuracy; }

  Result<Selection> search(const SelectionRequest& request, SelectionContext& context,
                           std::size_t k) const {
    NllScorer scorer(request, context,
                     {config_.reuse, static_cast<std::uint64_t>(config_.reuse_mib) << 20});
    ASSIGN_OR_RETURN(
        SearchOutcome outcome,
        beam_search(scorer, request, k, static_cast<std::size_t>(config_.width),
                    SearchFrom::kNothing, by_accuracy() ? SearchBy::kAccuracy : SearchBy::kNll));
    // "order" is what a search by NLL is checked by, on the model itself: so neither of trained
    // branches, which are gone when the selection is there, nor of a search by accuracy.
    const char* order = config_.steps > 0 ? "order_in_supernet"
                        : by_accuracy()   ? "order_by_accuracy"
                                          : "order";
    Selection selection{.mask = std::move(outcome.mask)};
    selection.diagnostics = {{order, outcome.order},
                             {"nll", outcome.nll},
                             {"width", config_.width},
                             {"tokens", config_.steps * config_.batch * config_.length}};
    if (by_accuracy()) {
      selection.diagnostics["accuracy"] = outcome.accuracy;
      selection.diagnostics["accuracy_of_units"] = outcome.scores.accuracy;
    }
    selection.scores = std::move(outcome.scores);
    return selection;
  }

  PostNasConfig config_;
};

}  // namespace

std::unique_ptr<SelectionStrategy> make_strategy(const PostNasConfig& config) {
  return std::make_unique<PostNas>(config);
}

}  // namespace strata
