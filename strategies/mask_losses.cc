#include "strategies/mask_losses.h"

#include "models/parallel.h"

namespace strata {
namespace {

// Where a result belongs: losses[trial][place].
struct Place {
  std::size_t trial;
  std::size_t place;
};

Result<std::vector<std::vector<double>>> score(const SelectionRequest& request,
                                               SelectionContext& context,
                                               std::span<const MaskTrial> trials) {
  const std::vector<Sample>& samples = context.calibration->samples;
  std::vector<AttentionPlan> plans;
  std::vector<std::vector<double>> losses;
  std::vector<std::vector<Place>> asked(samples.size());
  for (std::size_t t = 0; t < trials.size(); ++t) {
    ASSIGN_OR_RETURN(AttentionPlan plan, request.plan(trials[t].mask));
    plans.push_back(std::move(plan));
    losses.emplace_back(trials[t].samples.size());
    for (std::size_t place = 0; place < trials[t].samples.size(); ++place)
      asked[trials[t].samples[place]].push_back({t, place});
  }
  context.progress->begin("scoring masks", static_cast<std::int64_t>(samples.size()));
  const Status status = for_each_sample(
      *context.model, samples.size(), *context.progress,
      [&](MeteredModel& model, std::size_t i) -> Status {
        if (asked[i].empty()) return {};
        std::vector<ForcedRequest> requests;
        for (const Place& place : asked[i])
          requests.push_back({samples[i].prompt, samples[i].answer, &plans[place.trial]});
        Result<std::vector<AnswerScore>> scores = model.score(requests);
        if (!scores)
          return fail(
              std::move(scores).error().at("calibration sample " + samples[i].id.substr(0, 12)));
        for (std::size_t r = 0; r < requests.size(); ++r)
          losses[asked[i][r].trial][asked[i][r].place] = (*scores)[r].mean_nll();
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

MaskLosses mask_losses(const SelectionRequest& request, SelectionContext& context) {
  return [&request, &context](std::span<const MaskTrial> trials) {
    return score(request, context, trials);
  };
}

}  // namespace strata
