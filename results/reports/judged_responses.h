// What judges (strata score) said of the responses that a report shows.
#pragma once

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/rows.h"

namespace strata {

// Judgements of one identity may be compared.
struct JudgeIdentity {
  std::string model, endpoint, settings_json;
  std::string rubrics;  // "longmemeval", "swaa", "needle"
  auto operator<=>(const JudgeIdentity&) const = default;
  std::string text() const;  // "gpt-4o at api.openai.com (longmemeval prompts, temperature=0.0)"
};

// By the sample's id, of several calls the latest that did not fail, else a failed one.
using JudgedResponses = std::map<std::string, JudgementRow>;

// rows: of an experiment, by time (Store::judgements_of). samples_of_execution: the responses that
// are shown, as PickedResponses has them; judgements of others are left out.
std::map<JudgeIdentity, JudgedResponses> judged_responses(
    const std::vector<JudgementRow>& rows,
    const std::map<std::string, std::vector<std::string>>& samples_of_execution);

// From 1 to 10, of rubrics "needle"; an empty response, of which nobody is asked, has the lowest.
// None where the call failed or its reply has no score.
std::optional<int> needle_score(const JudgementRow& judgement);
inline constexpr const char* kNeedleRubrics = "needle";

}  // namespace strata
