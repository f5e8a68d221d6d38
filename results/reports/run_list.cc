#include "results/reports/run_list.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/json_reader.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/matching_runs.h"

namespace strata {
namespace {

using nlohmann::json;

constexpr std::size_t kIdDigits = 12;       // as `strata run` prints them
constexpr std::size_t kStartedDigits = 19;  // to the second

Result<bool> is_asked_for(const Store& store, const RunRow& run,
                          const LeaderboardRequest& request) {
  if (request.benchmark.value_or(run.benchmark) != run.benchmark ||
      request.decode_rule.value_or(run.decode_rule) != run.decode_rule ||
      request.window.value_or(run.window) != run.window)
    return false;
  if (request.budget_units && run.budget_units != request.budget_units) return false;
  if (!request.model) return true;
  if (!run.experiment_id) return false;
  ASSIGN_OR_RETURN(const ExperimentRow experiment, store.experiment(*run.experiment_id));
  ASSIGN_OR_RETURN(const ModelRow model, store.model(experiment.model_id));
  return names_model(model, *request.model);
}

json settings_of(const RunRow& run) {
  json settings = parse_json(run.benchmark_config_json).value_or(json());
  if (!settings.is_object()) return json::object();
  settings.erase("name");
  return settings;
}

// The settings of each benchmark that tell its runs apart, and its length.
std::map<std::string, std::set<std::string>> telling_settings(const std::vector<RunRow>& runs) {
  std::map<std::string, std::set<std::string>> telling;
  std::map<std::string, std::map<std::string, json>> first;
  for (const RunRow& run : runs) {
    const json settings = settings_of(run);
    for (const auto& [key, value] : settings.items()) {
      const auto seen = first[run.benchmark].emplace(key, value).first;
      if (key == "length" || seen->second != value) telling[run.benchmark].insert(key);
    }
  }
  return telling;
}

std::string benchmark_text(const RunRow& run, const std::set<std::string>& telling) {
  json shown = json::object();
  const json all = settings_of(run);
  for (const auto& [key, value] : all.items())
    if (telling.contains(key)) shown[key] = value;
  const std::string settings = config_text(shown.dump());
  return run.benchmark + (settings.empty() ? "" : " " + settings);
}

std::string started_text(const RunRow& run) {
  std::string text = run.started.substr(0, kStartedDigits);
  if (const std::size_t t = text.find('T'); t != std::string::npos) text[t] = ' ';
  return text;
}

}  // namespace

Result<ReportPage> run_list(const Store& store, const LeaderboardRequest& request) {
  ASSIGN_OR_RETURN(std::vector<RunRow> matching, matching_runs(store, request.where));
  std::vector<RunRow> runs;
  for (RunRow& run : matching) {
    ASSIGN_OR_RETURN(const bool asked_for, is_asked_for(store, run, request));
    if (asked_for) runs.push_back(std::move(run));
  }
  if (runs.empty())
    return fail(make_error(ErrorKind::kNotFound, "no run matches").at(store.path()));
  auto telling = telling_settings(runs);
  TextTable table{{{"run", false},
                   {"label", false},
                   {"status", false},
                   {"benchmark", false},
                   {"budget"},
                   {"window"},
                   {"started (UTC)", false},
                   {"answered"}},
                  {}};
  for (const RunRow& run : runs) {
    std::string answered = kNoValue;
    if (run.experiment_id) {
      ASSIGN_OR_RETURN(const AnswerCount count, store.answer_count(*run.experiment_id));
      answered = fmt::format("{}/{}", count.answered, count.samples);
    }
    table.rows.push_back({run.id.substr(0, kIdDigits), run.label,
                          std::string(to_string(run.status)),
                          benchmark_text(run, telling[run.benchmark]),
                          run.budget_units ? fmt::format("{}", *run.budget_units) : kNoValue,
                          run.window > 0 ? fmt::format("{}", run.window) : kNoValue,
                          started_text(run), std::move(answered)});
  }
  return ReportPage{{{"runs", {}, std::move(table), {}}}, {}};
}

}  // namespace strata
