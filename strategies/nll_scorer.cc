#include "strategies/nll_scorer.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <numeric>
#include <utility>

#include "models/cost.h"

namespace strata {
namespace {

// The prompt's rows from `window` on (linear attention: all), as a text whose scored part begins
// there. No query sees an answer.
Result<ForcedRequest> beyond_window(const SelectionRequest& request, const Sample& sample,
                                    Tokens& scored) {
  const auto* sliding = std::get_if<SlidingWindow>(&request.cheap);
  const auto length = static_cast<std::int64_t>(sample.prompt.size());
  const bool linear = std::holds_alternative<LinearAttention>(request.cheap);
  if (sliding == nullptr && !linear)
    return fail(ErrorKind::kUnsupported, "positions=beyond_window: {} has no window to look beyond",
                name_of(request.cheap));
  const std::int64_t window = sliding == nullptr ? 0 : sliding->window;
  if (length <= window)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "no position of the prompt lies beyond the window: {} tokens, window {}",
                           length, window)
                    .with_hint("lower mixer.window, or set a longer benchmark.length"));
  const auto first = static_cast<std::size_t>(window) + 1;
  scored.assign(sample.prompt.begin() + static_cast<std::ptrdiff_t>(first), sample.prompt.end());
  // What follows the prompt is not known; it is the last row's target alone, and changes no
  // divergence.
  scored.push_back(sample.prompt.back());
  return ForcedRequest{
      .prompt = std::span(sample.prompt).first(first), .answer = scored, .prompt_length = length};
}

}  // namespace

std::string_view to_string(Measure measure) {
  switch (measure) {
    case Measure::kAnswerNll: return "answer NLL";
    case Measure::kAnswerDivergence: return "KL from full attention over the answer";
    case Measure::kDivergenceBeyondWindow:
      return "KL from full attention over the prompt beyond the window";
  }
  return "?";
}

Result<std::vector<AnswerScore>> score_toggles(MeteredModel& model, const SelectionRequest& request,
                                               ForcedRequest text, const Mask& context,
                                               std::span<const std::size_t> candidates,
                                               const ActivationReuse& reuse) {
  std::vector<Mask> masks{context};
  for (const std::size_t unit : candidates) masks.push_back(context.with(unit, !context.at(unit)));
  return score_masks(model, request, std::move(text), masks, reuse);
}

NllScorer::NllScorer(const SelectionRequest& request, SelectionContext& context,
                     ActivationReuse reuse, Measure measure)
    : request_(request),
      context_(context),
      reuse_(of_one_worker(reuse, context)),
      measure_(measure) {}

Result<std::vector<NllScorer::Toggled>> NllScorer::toggles(
    MeteredModel& model, const Sample& sample, const Mask& context,
    std::span<const std::size_t> candidates) const {
  ForcedRequest text{sample.prompt, sample.answer};
  Tokens scored;
  if (measure_ == Measure::kDivergenceBeyondWindow) {
    ASSIGN_OR_RETURN(text, beyond_window(request_, sample, scored));
  }
  if (measure_ != Measure::kAnswerNll) {
    const AttentionPlan full = AttentionPlan::full(request_.layout);
    ForcedRequest teacher = text;
    teacher.plan = &full;
    teacher.keep_logits = true;
    ASSIGN_OR_RETURN(const std::vector<AnswerScore> kept, model.score(std::span(&teacher, 1)));
    text.reference = kept[0].logits;
  }
  ASSIGN_OR_RETURN(std::vector<AnswerScore> scores,
                   score_toggles(model, request_, text, context, candidates, reuse_));
  std::vector<Toggled> toggled;
  toggled.reserve(scores.size());
  for (AnswerScore& score : scores)
    toggled.push_back(
        {.measured = std::move(measure_ == Measure::kAnswerNll ? score.nll : score.divergence),
         .right = score.argmax == sample.answer});
  return toggled;
}

std::size_t NllScorer::samples() const { return context_.calibration->samples.size(); }

Result<UnitScores> NllScorer::score(const Mask& context, std::span<const std::size_t> candidates) {
  const std::vector<std::size_t> samples = all_samples(*context_.calibration);
  ASSIGN_OR_RETURN(const auto toggled, all_toggles(context, candidates, samples));
  UnitScores scores = scores_of(tensor_of(context, candidates, samples, toggled));
  if (measure_ != Measure::kAnswerNll) return scores;
  const auto right = [&](std::size_t column) {
    const auto count = std::count_if(toggled.begin(), toggled.end(),
                                     [&](const auto& sample) { return sample[column].right; });
    return static_cast<double>(count) / static_cast<double>(toggled.size());
  };
  scores.context_accuracy = right(0);
  scores.accuracy.assign(context.size(), 0.0);
  for (std::size_t c = 0; c < candidates.size(); ++c) scores.accuracy[candidates[c]] = right(c + 1);
  return scores;
}

Result<ScoreTensor> NllScorer::gains(const Mask& context, std::span<const std::size_t> candidates,
                                     std::span<const std::size_t> samples) {
  ASSIGN_OR_RETURN(const auto toggled, all_toggles(context, candidates, samples));
  return tensor_of(context, candidates, samples, toggled);
}

Result<std::vector<std::vector<NllScorer::Toggled>>> NllScorer::all_toggles(
    const Mask& context, std::span<const std::size_t> candidates,
    std::span<const std::size_t> samples) {
  STRATA_CHECK(!samples.empty() && !candidates.empty());
  const std::vector<Sample>& all = context_.calibration->samples;
  std::vector<std::vector<Toggled>> toggled(samples.size());
  RETURN_IF_ERROR(for_each_calibration_sample(
      context_, "scoring units", samples, [&](MeteredModel& model, std::size_t i) -> Status {
        ASSIGN_OR_RETURN(toggled[i], toggles(model, all[samples[i]], context, candidates));
        return {};
      }));
  return toggled;
}

ScoreTensor NllScorer::tensor_of(const Mask& context, std::span<const std::size_t> candidates,
                                 std::span<const std::size_t> samples,
                                 const std::vector<std::vector<Toggled>>& toggled) const {
  const std::vector<Sample>& all = context_.calibration->samples;
  ScoreTensor tensor{.context = context};
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const std::vector<double>& base = toggled[i][0].measured;
    tensor.samples.push_back(all[samples[i]].id);
    tensor.clusters.push_back(all[samples[i]].cluster);
    tensor.positions.push_back(base.size());
    for (const double value : base) tensor.context_nll.push_back(static_cast<float>(value));
    const std::size_t begin = tensor.gains.size();
    tensor.gains.resize(begin + context.size() * base.size(),
                        std::numeric_limits<float>::quiet_NaN());
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      // Gain of keeping the unit, whichever side of the toggle the context is on.
      const double sign = context.at(candidates[c]) ? -1.0 : 1.0;
      for (std::size_t p = 0; p < base.size(); ++p)
        tensor.gains[begin + candidates[c] * base.size() + p] =
            static_cast<float>(sign * (base[p] - toggled[i][c + 1].measured[p]));
    }
  }
  return tensor;
}

namespace {

// What this costs where every toggle runs from the first layer: what other selectors' costs are
// compared with.
double flops_without_reuse(const SelectionRequest& request, const SelectionContext& context,
                           const Mask& start) {
  std::vector<AttentionPlan> plans;
  plans.push_back(*request.plan(start));
  for (std::size_t unit = 0; unit < start.size(); ++unit)
    plans.push_back(*request.plan(start.with(unit, !start.at(unit))));
  double flops = 0;
  for (const Sample& sample : context.calibration->samples)
    for (const AttentionPlan& plan : plans)
      flops += forced_flops(plan, context.model->model().shape(),
                            static_cast<std::int64_t>(sample.prompt.size()),
                            static_cast<std::int64_t>(sample.answer.size()));
  return flops;
}

}  // namespace

Result<SharedScores> score_all_units(const SelectionRequest& request, SelectionContext& context,
                                     bool restore, const ActivationReuse& reuse, Measure measure) {
  const nlohmann::json key = {{"measure", to_string(measure)},
                              {"mode", restore ? "restore" : "ablate"},
                              {"reuse", reuse.on}};
  return shared_scores(request, context, key, [&]() -> Result<SharedScores> {
    const Mask start(request.granularity, request.layout, !restore);
    std::vector<std::size_t> all(start.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    NllScorer scorer(request, context, reuse, measure);
    ASSIGN_OR_RETURN(UnitScores scores, scorer.score(start, all));
    SharedScores out{.scores = std::move(scores)};
    if (measure == Measure::kAnswerNll)
      out.diagnostics["flops_without_reuse"] = flops_without_reuse(request, context, start);
    return out;
  });
}

}  // namespace strata
