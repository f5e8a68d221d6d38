#include "results/reports/ablation.h"

#include <algorithm>
#include <array>
#include <set>

#include "results/reports/format.h"
#include "results/reports/matching_runs.h"

namespace strata {
namespace {

// Keys of a benchmark that name samples, not a question, and columns that others stand for.
constexpr std::array<const char*, 4> kNotAsked = {"benchmark.seed", "benchmark.samples",
                                                  "benchmark.split", "benchmark.name"};

constexpr std::size_t kShownValues = 12;

bool is_factor(const std::string& key) {
  if (std::find(kNotAsked.begin(), kNotAsked.end(), key) != kNotAsked.end()) return false;
  if (key == "mixer.window" || key == "mixer.sinks") return false;  // columns of their own
  for (const char* name : {"benchmark", "window", "sinks", "decode_rule", "granularity", "model",
                           "calibration.samples"})
    if (key == name) return true;
  return key.starts_with("benchmark.") || key.starts_with("mixer.") ||
         key.starts_with("calibration.benchmark.");
}

std::string name_of(const Evaluation& evaluation) {
  return is_drawn(evaluation) ? evaluation.run.group : evaluation.name();
}

StoredKeys keys_of(const LeaderboardData& data, const Evaluation& evaluation) {
  return {evaluation.run, evaluation.selection ? &*evaluation.selection : nullptr,
          &data.models.at(evaluation.experiment.model_id)};
}

std::map<std::string, std::string> factors_of(const LeaderboardData& data,
                                              const Evaluation& evaluation,
                                              const std::vector<std::string>& further) {
  const RunRow& run = evaluation.run;
  const StoredKeys keys = keys_of(data, evaluation);
  std::map<std::string, std::string> out;
  for (const std::string& key : keys.names())
    if (is_factor(key)) out[key] = *keys.value(key);
  for (const std::string& key : further) out[key] = keys.value(key).value_or(kNoValue);
  out["strategy"] = is_drawn(evaluation) ? run.group : run.label;
  out["budget"] = run.budget_fraction ? fmt::format("{:g}", *run.budget_fraction)
                  : run.budget_units  ? fmt::format("{} units", *run.budget_units)
                                      : kNoValue;
  return out;
}

// Selectors of one label and other settings (steps, a rate) are other selectors: their names get
// what they differ in.
void tell_settings_apart(const LeaderboardData& data, AblationRuns& runs) {
  using Settings = std::map<std::string, std::string>;
  const auto settings_of = [&](const AblationRun& run) {
    Settings out;
    const Evaluation& evaluation = *run.evaluation;
    if (is_drawn(evaluation)) return out;
    const StoredKeys keys = keys_of(data, evaluation);
    for (const std::string& key : keys.names())
      if (key.starts_with("strategy.") && key != "strategy.name" && key != "strategy.seed")
        out[key.substr(std::string_view("strategy.").size())] = *keys.value(key);
    return out;
  };
  std::map<std::string, std::map<std::string, std::set<std::string>>> values;  // by name, by key
  std::vector<Settings> settings;
  for (const AblationRun& run : runs) {
    settings.push_back(settings_of(run));
    for (const auto& [key, value] : settings.back()) values[run.name][key].insert(value);
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    for (const auto& [key, value] : settings[i])
      if (values[runs[i].name][key].size() > 1)
        runs[i].differing += fmt::format(" {}={}", key, value);
    runs[i].name += runs[i].differing;
  }
}

std::string setting_of(const Evaluation& evaluation, const BlockKey& key) {
  return fmt::format("{} {} · {} · rule {}", evaluation.run.benchmark,
                     config_text(evaluation.run.benchmark_config_json),
                     mixer_text(key.window, key.sinks, key.linear), to_string(key.decode_rule));
}

std::size_t number_of(const std::string& setting, std::vector<std::string>& known) {
  const auto it = std::find(known.begin(), known.end(), setting);
  if (it != known.end()) return static_cast<std::size_t>(it - known.begin());
  known.push_back(setting);
  return known.size() - 1;
}

// Only what differs between runs is a swept key; one that is merely absent elsewhere (a task's own)
// still tells settings apart but is not shown.
void keep_swept(AblationRuns& runs, Ablation& out) {
  std::map<std::string, std::set<std::string, NaturalLess>> values;
  for (const AblationRun& run : runs)
    for (const auto& [key, value] : run.factors) values[key].insert(value);
  for (AblationRun& run : runs)
    for (const auto& [key, known] : values) run.factors.try_emplace(key, kNoValue);
  for (const AblationRun& run : runs)
    for (const auto& [key, value] : run.factors) values[key].insert(value);
  for (const auto& [key, known] : values) {
    if (known.size() < 2) {
      for (AblationRun& run : runs) run.factors.erase(key);
      continue;
    }
    std::string line;
    std::size_t real = 0;
    for (const std::string& value : known) {
      if (value == kNoValue) continue;
      if (++real <= kShownValues) line += (real == 1 ? ": " : ", ") + value;
    }
    if (real < 2) continue;
    if (real > kShownValues) line += fmt::format(" and {} more", real - kShownValues);
    line.insert(0, key);
    out.swept.push_back(std::move(line));
  }
}

}  // namespace

std::optional<double> AblationRun::gap() const {
  if (full == nullptr || none == nullptr || full->nll.empty() || none->nll.empty() ||
      evaluation->nll.empty())
    return std::nullopt;
  const double floor = mean_of(none->nll).value;
  const double whole = floor - mean_of(full->nll).value;
  if (!(whole > 0)) return std::nullopt;
  return (floor - mean_of(evaluation->nll).value) / whole;
}

Result<Ablation> ablation(const Store& store, const LeaderboardRequest& request) {
  LeaderboardRequest all = request;
  all.by.clear();  // further factors, no tables of their own
  ASSIGN_OR_RETURN(const LeaderboardData data, load_leaderboard_data(store, all));
  Ablation out{.notes = data.notes};
  if (!request.by.empty()) {
    SeenKeys seen;
    for (const Evaluation& evaluation : data.evaluations) seen.add(keys_of(data, evaluation), {});
    RETURN_IF_ERROR(seen.check({}, request.by, store.path()));
  }
  AblationRuns runs;
  std::vector<std::pair<BlockKey, const Evaluation*>> fulls, nones;
  for (const Evaluation& evaluation : data.evaluations) {
    if (!evaluation.shown || evaluation.split != kTestSplit) continue;
    BlockKey key = key_of(evaluation);
    if (evaluation.run.group == "full") {
      fulls.emplace_back(std::move(key), &evaluation);
    } else if (evaluation.run.group == "none") {
      nones.emplace_back(std::move(key), &evaluation);
    } else {
      AblationRun run{.evaluation = &evaluation, .key = std::move(key)};
      run.name = name_of(evaluation);
      run.setting = number_of(setting_of(evaluation, run.key), out.settings);
      run.factors = factors_of(data, evaluation, request.by);
      run.clusters = data.data.at(evaluation.experiment.data_id).clusters;
      runs.push_back(std::move(run));
    }
  }
  if (runs.empty())
    return fail(make_error(ErrorKind::kNotFound, "no finished run of a selector to show")
                    .at(store.path())
                    .with_hint("'strata run -m' records sweeps; check the filters"));
  for (AblationRun& run : runs) {
    for (const auto& [key, full] : fulls)
      if (run.key.same_task(key)) run.full = full;
    for (const auto& [key, none] : nones)
      if (run.key.same_mixer(key)) run.none = none;
  }
  keep_swept(runs, out);
  tell_settings_apart(data, runs);
  for (AblationRun& run : runs)
    if (const auto prompts = run.factors.find("calibration.samples");
        prompts != run.factors.end() && run.evaluation->selection &&
        !run.evaluation->selection->calibration_id.empty())
      run.name += " @" + prompts->second;
  for (const AblationRun& run : runs)
    if (!run.evaluation->nll.empty())
      out.runs.push_back({run.evaluation->source(), run.name, run.setting,
                          mean_of(run.evaluation->nll).value, run.gap()});
  find_effects(runs, out);
  find_fronts(runs, out);
  find_curves(runs, request.bootstrap_seed, out);
  find_agreement(runs, out);
  find_transfers(runs, request.bootstrap_seed, out);
  return out;
}

}  // namespace strata
