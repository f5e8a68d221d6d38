#include "strategies/mask_losses.h"

#include <algorithm>
#include <numeric>

#include "models/parallel.h"
#include "models/row_plan.h"
#include "strategies/mean_error.h"

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

Result<NllRows> from_scratch(MeteredModel& model, const Sample& sample,
                             std::span<const AttentionPlan> plans) {
  std::vector<ForcedRequest> requests;
  for (const AttentionPlan& plan : plans) requests.push_back({sample.prompt, sample.answer, &plan});
  ASSIGN_OR_RETURN(std::vector<AnswerScore> scores, model.score(requests));
  NllRows nll;
  for (AnswerScore& score : scores) nll.push_back(std::move(score.nll));
  return nll;
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
  const int workers = context.model->workers();
  context.progress->begin("scoring masks", static_cast<std::int64_t>(samples.size()));
  const Status status = for_each_sample(
      *context.model, samples.size(), *context.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        if (asked[i].empty()) return {};
        std::vector<Mask> masks;
        for (const Place& place : asked[i]) masks.push_back(trials[place.trial].mask);
        const Result<NllRows> nll = mask_nll(request, model, workers, samples[i], masks, reuse);
        if (!nll)
          return fail(Error(nll.error()).at("calibration sample " + samples[i].id.substr(0, 12)));
        for (std::size_t m = 0; m < masks.size(); ++m)
          losses[asked[i][m].trial][asked[i][m].place] = mean_error((*nll)[m]).mean;
        return {};
      },
      [&](std::size_t) -> Status {
        context.progress->advance(1);
        return {};
      });
  context.progress->end();
  RETURN_IF_ERROR(status);
  return losses;
}

}  // namespace

Result<NllRows> mask_nll(const SelectionRequest& request, MeteredModel& model, int workers,
                         const Sample& sample, std::span<const Mask> masks,
                         const ActivationReuse& reuse) {
  std::vector<AttentionPlan> plans;
  for (const Mask& mask : masks) {
    ASSIGN_OR_RETURN(AttentionPlan plan, request.plan(mask));
    plans.push_back(std::move(plan));
  }
  if (!reuse.on) return from_scratch(model, sample, plans);
  ASSIGN_OR_RETURN(const AttentionPlan cheap,
                   request.plan(Mask(request.granularity, request.layout, false)));
  ASSIGN_OR_RETURN(Trace trace,
                   model.trace({sample.prompt, sample.answer, &plans[0]}, shared_prefix(cheap),
                               reuse.memory_bytes / static_cast<std::uint64_t>(workers)));
  NllRows nll(masks.size());
  nll[0] = trace.score().nll;
  std::vector<std::size_t> order(masks.size() - 1);  // of the others, by rising layer
  std::iota(order.begin(), order.end(), std::size_t{1});
  const auto layer = [&](std::size_t m) { return first_difference(masks[0], masks[m]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return layer(a) < layer(b); });
  std::vector<Toggle> toggles;
  toggles.reserve(order.size());
  for (const std::size_t m : order) toggles.push_back({layer(m), &plans[m]});
  ASSIGN_OR_RETURN(std::vector<AnswerScore> scores, model.resume(trace, toggles));
  for (std::size_t i = 0; i < order.size(); ++i) nll[order[i]] = std::move(scores[i].nll);
  return nll;
}

MaskLosses mask_losses(const SelectionRequest& request, SelectionContext& context,
                       ActivationReuse reuse) {
  return [&request, &context, reuse](std::span<const MaskTrial> trials) {
    return score(request, context, reuse, trials);
  };
}

}  // namespace strata
