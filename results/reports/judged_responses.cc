#include "results/reports/judged_responses.h"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "core/model_reply.h"
#include "results/reports/format.h"

namespace strata {

std::string JudgeIdentity::text() const {
  std::string how = rubrics + " prompts";
  if (const std::string settings = config_text(settings_json); !settings.empty())
    how += ", " + settings;
  return fmt::format("{} at {} ({})", model, endpoint, how);
}

std::map<JudgeIdentity, JudgedResponses> judged_responses(
    const std::vector<JudgementRow>& rows,
    const std::map<std::string, std::vector<std::string>>& samples_of_execution) {
  std::set<std::pair<std::string_view, std::string_view>> shown;  // execution, sample
  for (const auto& [execution, samples] : samples_of_execution)
    for (const std::string& sample : samples) shown.emplace(execution, sample);
  std::map<JudgeIdentity, JudgedResponses> out;
  for (const JudgementRow& row : rows) {
    if (!shown.contains({row.execution_id, row.sample_id})) continue;
    JudgedResponses& judged = out[{row.judge_model, row.endpoint, row.settings_json,
                                   row.rubric.substr(0, row.rubric.find('/'))}];
    const auto [slot, first] = judged.try_emplace(row.sample_id, row);
    if (!first && row.verdict != JudgedAs::kFailed) slot->second = row;
  }
  return out;
}

std::optional<int> needle_score(const JudgementRow& judgement) {
  constexpr int kLowestScore = 1;
  return judgement.attempts == 0 ? kLowestScore : bracketed_score(judgement.reply);
}

}  // namespace strata
