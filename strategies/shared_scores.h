// Scores of single units that several strategies and budgets share, and how per-sample scores
// become a unit's score with its standard error.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "strategies/strategy.h"

namespace strata {

struct SharedScores {
  UnitScores scores;
  nlohmann::json diagnostics = nlohmann::json::object();
  nlohmann::json training = nullptr;  // as Selection's
  Meter reused_cost;                  // where they were computed before
};

// What scores are made for, beside the method: model, calibration, units, mixers, rule.
nlohmann::json scored_for(const SelectionRequest& request, const SelectionContext& context);

// What was computed under the same key, model, calibration and request (its budget aside), else
// compute()'s.
Result<SharedScores> shared_scores(const SelectionRequest& request, SelectionContext& context,
                                   const nlohmann::json& key,
                                   const std::function<Result<SharedScores>()>& compute);

// The k units of highest score, with their evidence.
Selection keep_highest(const SelectionRequest& request, SharedScores scored, std::size_t k);

// rows[sample][unit] → means, and the standard errors of means over independent samples. NaN = the
// sample says nothing of the unit; of no sample, the mean is −∞.
UnitScores means_over_samples(const std::vector<std::vector<double>>& rows);

// Every score a mean over the tensor, so that whoever has the tensor has the scores; the standard
// error is that of the mean over independent samples. Units that were not scored get −∞.
UnitScores scores_of(ScoreTensor tensor);

// Without a standard error or a tensor.
UnitScores plain_scores(std::vector<double> scores);

// "calibration sample 0123456789ab": where an error is.
std::string name_of(const Sample& sample);

// Their indices, in order.
std::vector<std::size_t> all_samples(const CalibrationSet& calibration);

// body(model, i) for each of these calibration samples (indices; i counts them), on as many threads
// as there are workers. An error names its sample.
Status for_each_calibration_sample(SelectionContext& context, std::string_view stage,
                                   std::span<const std::size_t> samples,
                                   const std::function<Status(MeteredModel&, std::size_t)>& body);

}  // namespace strata
