#include "strategies/mask_losses.h"

#include <algorithm>
#include <numeric>

#include "models/row_plan.h"
#include "strategies/shared_scores.h"

namespace strata {
namespace {

// Where a result belongs: losses[trial][place].
struct Place {
  std::size_t trial;
  std::size_t place;
};

// The first layer in which they differ, at most the last.
int first_difference(const Mask& a, const Mask& b) {
  for (int layer = 0; layer + 1 < a.layers(); ++layer)
    for (int unit = 0; unit < a.units(); ++unit)
      if (a(layer, unit) != b(layer, unit)) return layer;
  return a.layers() - 1;
}

Result<std::vector<std::vector<double>>> score(const SelectionRequest& request,
                                               SelectionContext& context,
                                               const ActivationReuse& reuse,
                                               std::span<const MaskTrial> trials) {
  const std::vector<Sample>& samples = context.calibration->samples;
  std::vector<std::vector<double>> losses;
  std::vector<std::vector<Place>> asked(samples.size());
  for (std::size_t t = 0; t < trials.size(); ++t) {
    losses.emplace_back(trials[t].samples.size());
    for (std::size_t place = 0; place < trials[t].samples.size(); ++place)
      asked[trials[t].samples[place]].push_back({t, place});
  }
  const ActivationReuse own = of_one_worker(reuse, context);
  RETURN_IF_ERROR(for_each_calibration_sample(
      context, "scoring masks", all_samples(*context.calibration),
      [&](MeteredModel& model, std::size_t i) -> Status {
        if (asked[i].empty()) return {};
        std::vector<Mask> masks;
        for (const Place& place : asked[i]) masks.push_back(trials[place.trial].mask);
        ASSIGN_OR_RETURN(
            const std::vector<AnswerScore> scores,
            score_masks(model, request, {samples[i].prompt, samples[i].answer}, masks, own));
        for (std::size_t m = 0; m < masks.size(); ++m)
          losses[asked[i][m].trial][asked[i][m].place] = scores[m].mean_nll();
        return {};
      }));
  return losses;
}

}  // namespace

ActivationReuse of_one_worker(ActivationReuse reuse, const SelectionContext& context) {
  reuse.memory_bytes /= static_cast<std::uint64_t>(context.model->workers());
  return reuse;
}

Result<std::vector<AnswerScore>> score_masks(MeteredModel& model, const SelectionRequest& request,
                                             ForcedRequest text, std::span<const Mask> masks,
                                             const ActivationReuse& reuse) {
  std::vector<AttentionPlan> plans;
  for (const Mask& mask : masks) {
    ASSIGN_OR_RETURN(AttentionPlan plan, request.plan(mask));
    plans.push_back(std::move(plan));
  }
  if (!reuse.on) {
    std::vector<ForcedRequest> requests;
    for (const AttentionPlan& plan : plans) {
      text.plan = &plan;
      requests.push_back(text);
    }
    return model.score(requests);
  }
  text.plan = &plans[0];
  ASSIGN_OR_RETURN(const AttentionPlan cheap,
                   request.plan(Mask(request.granularity, request.layout, false)));
  ASSIGN_OR_RETURN(Trace trace, model.trace(text, shared_prefix(cheap), reuse.memory_bytes));
  std::vector<AnswerScore> scores(masks.size());
  scores[0] = trace.score();
  std::vector<std::size_t> order(masks.size() - 1);  // of the others, by rising layer
  std::iota(order.begin(), order.end(), std::size_t{1});
  const auto layer = [&](std::size_t m) { return first_difference(masks[0], masks[m]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return layer(a) < layer(b); });
  std::vector<Toggle> toggles;
  toggles.reserve(order.size());
  for (const std::size_t m : order) toggles.push_back({layer(m), &plans[m]});
  ASSIGN_OR_RETURN(std::vector<AnswerScore> resumed, model.resume(trace, toggles));
  for (std::size_t i = 0; i < order.size(); ++i) scores[order[i]] = std::move(resumed[i]);
  return scores;
}

MaskLosses mask_losses(const SelectionRequest& request, SelectionContext& context,
                       ActivationReuse reuse) {
  return [&request, &context, reuse](std::span<const MaskTrial> trials) {
    return score(request, context, reuse, trials);
  };
}

}  // namespace strata
