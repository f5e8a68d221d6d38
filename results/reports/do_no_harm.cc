#include "results/reports/do_no_harm.h"

#include <tuple>

namespace strata {
namespace {

bool same_question(const ExperimentRow& a, const ExperimentRow& b) {
  return std::tie(a.model_id, a.tokenizer_id, a.generation_json, a.data_id, a.numerics_version) ==
         std::tie(b.model_id, b.tokenizer_id, b.generation_json, b.data_id, b.numerics_version);
}

}  // namespace

HarmToText::HarmToText(const LeaderboardData& data, std::uint64_t bootstrap_seed)
    : data_(data), seed_(bootstrap_seed) {
  for (const Evaluation& evaluation : data.evaluations) {
    if (evaluation.run.benchmark != kRunningText || evaluation.split != kTestSplit ||
        evaluation.nll.empty())
      continue;
    const ExperimentRow& experiment = evaluation.experiment;
    texts_.emplace(ModelAndPlan{experiment.model_id, experiment.plan_id}, &evaluation);
    if (evaluation.plan.is_full()) fulls_.emplace(experiment.model_id, &evaluation);
  }
}

std::optional<Estimate> HarmToText::of(const Evaluation& evaluation) const {
  const ExperimentRow& experiment = evaluation.experiment;
  if (evaluation.run.benchmark == kRunningText) return std::nullopt;
  const Evaluation *text = nullptr, *full = nullptr;
  const auto [begin, end] = texts_.equal_range({experiment.model_id, experiment.plan_id});
  const auto [first_full, last_full] = fulls_.equal_range(experiment.model_id);
  for (auto it = begin; it != end; ++it)
    for (auto reference = first_full; reference != last_full; ++reference)
      if (same_question(it->second->experiment, reference->second->experiment) &&
          (text == nullptr || it->second->nll.size() > text->nll.size())) {
        text = it->second;
        full = reference->second;
      }
  if (text == nullptr || text == full) return std::nullopt;
  return paired_estimate(
      text->nll, full->nll,
      {.seed = seed_, .clusters = data_.data.at(text->experiment.data_id).clusters});
}

}  // namespace strata
