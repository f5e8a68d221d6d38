#include "results/reports/effective_length.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "core/json_reader.h"
#include "results/reports/format.h"
#include "results/reports/leaderboard_data.h"
#include "results/reports/row_source.h"

namespace strata {
namespace {

constexpr const char* kRuler = "ruler";
constexpr double kPercent = 100;

struct Asked {
  std::string task, variant;
  std::int64_t length = 0, distractors = 0;
};

// What a run's benchmark configuration asks; none where it is no RULER configuration.
std::optional<Asked> asked_by(const RunRow& run) {
  const auto config = parse_json(run.benchmark_config_json);
  if (!config || !config->is_object()) return std::nullopt;
  const auto task = config->find("task"), length = config->find("length");
  if (task == config->end() || !task->is_string() || length == config->end() ||
      !length->is_number_integer())
    return std::nullopt;
  const auto variant = config->find("variant"), distractors = config->find("distractors");
  return Asked{
      task->get<std::string>(),
      variant != config->end() && variant->is_string() ? variant->get<std::string>() : kRuler,
      length->get<std::int64_t>(),
      distractors != config->end() && distractors->is_number_integer()
          ? distractors->get<std::int64_t>()
          : 0};
}

std::string setting_of(const Evaluation& evaluation, const Asked& asked) {
  const RunRow& run = evaluation.run;
  const std::string mixer = mixer_text(run, &evaluation.plan);
  std::string text = mixer.empty() ? "full attention"
                                   : fmt::format("{} · rule {}", mixer, to_string(run.decode_rule));
  if (run.budget_fraction) text += fmt::format(" · budget {:g}", *run.budget_fraction);
  if (run.budget_units) text += " · " + plural(*run.budget_units, unit_name(run.granularity));
  if (asked.distractors > 0) text += " · " + plural(asked.distractors, "distractor");
  if (asked.variant != kRuler) text += " · " + asked.variant;
  if (!evaluation.by.empty()) text += " · " + evaluation.by;
  return text;
}

// A run that answered a task at a length.
struct Cell {
  const Evaluation* evaluation = nullptr;
  Asked asked;
};

// A run says of its calibration what differs from its own task (Evaluation::transfer): the same one
// is "niah" at the length that it has, and "niah length=1024" at others. What it chose has one
// name: the one that says most.
class Names {
 public:
  explicit Names(const std::vector<Cell>& cells) {
    for (const Cell& cell : cells) {
      std::string& transfer = transfers_[key_of(cell)];
      if (cell.evaluation->transfer.size() > transfer.size()) transfer = cell.evaluation->transfer;
    }
  }
  std::string of(const Cell& cell) const {
    return with_transfer(cell.evaluation->run.label, transfers_.at(key_of(cell)));
  }

 private:
  using Key = std::array<std::string, 4>;  // the model's id, setting, label, calibration
  static Key key_of(const Cell& cell) {
    const Evaluation& evaluation = *cell.evaluation;
    return {evaluation.experiment.model_id, setting_of(evaluation, cell.asked),
            evaluation.run.label, calibration_benchmark(evaluation.run).dump()};
  }
  std::map<Key, std::string> transfers_;
};

// The runs that answered a task at a length, by data set.
using DataRuns = std::map<std::string, std::vector<const Evaluation*>>;
using Answers = std::map<std::int64_t, std::map<std::string, DataRuns>>;

// Each sample once, with the mean over the runs (of several calibration seeds, say) that answered
// it; samples of two data sets are never a cluster.
ValueGroup group_of(const DataRuns& runs, const LeaderboardData& data) {
  ValueGroup group;
  std::size_t next = 0;
  for (const auto& [data_id, evaluations] : runs) {
    const std::vector<std::size_t>& clusters = data.data.at(data_id).clusters;
    const std::size_t first = next;
    for (std::size_t i = 0; i < clusters.size(); ++i) {
      double sum = 0;
      for (const Evaluation* evaluation : evaluations) sum += evaluation->string_match[i];
      group.values.push_back(sum / static_cast<double>(evaluations.size()));
      group.clusters.push_back(first + clusters[i]);
      next = std::max(next, first + clusters[i] + 1);
    }
  }
  return group;
}

void score(const Answers& answers, const LeaderboardData& data, EffectiveLength& row) {
  std::set<std::string> tasks;
  for (const auto& [length, by_task] : answers)
    for (const auto& [task, runs] : by_task) {
      tasks.insert(task);
      for (const auto& [data_id, evaluations] : runs)
        row.runs = std::max(row.runs, evaluations.size());
    }
  row.tasks = tasks.size();
  for (const auto& [length, by_task] : answers) {
    LengthScores& scores = row.lengths[length];
    std::vector<ValueGroup> groups;
    for (const auto& [task, runs] : by_task) {
      for (const auto& [data_id, evaluations] : runs)
        for (const Evaluation* evaluation : evaluations)
          scores.sources[task].push_back(evaluation->source());
      ValueGroup group = group_of(runs, data);
      const std::size_t clusters = std::set(group.clusters.begin(), group.clusters.end()).size();
      const bool first = scores.tasks.empty();
      scores.samples = first ? group.values.size() : std::min(scores.samples, group.values.size());
      scores.clusters = first ? clusters : std::min(scores.clusters, clusters);
      BootstrapOptions options;
      options.clusters = group.clusters;
      scores.tasks[task] = share_estimate(group.values, options);
      groups.push_back(std::move(group));
    }
    if (groups.size() != tasks.size()) continue;
    scores.average = mean_of_group_means(groups, {});
    if (scores.average->value >= kEffectiveScore) row.effective = length;  // ascending
  }
}

std::set<std::int64_t> all_lengths(const EffectiveLengths& lengths) {
  std::set<std::int64_t> all;
  for (const EffectiveLength& row : lengths.rows)
    for (const auto& [length, scores] : row.lengths) all.insert(length);
  return all;
}

}  // namespace

Result<EffectiveLengths> effective_lengths(const Store& store, const LeaderboardRequest& request) {
  LeaderboardRequest ruler = request;
  ruler.benchmark = kRuler;
  ASSIGN_OR_RETURN(const LeaderboardData data, load_leaderboard_data(store, ruler));
  EffectiveLengths out{{}, data.notes};
  std::vector<Cell> cells;
  std::size_t without = 0;
  for (const Evaluation& evaluation : data.evaluations) {
    if (!evaluation.shown || evaluation.split != kTestSplit || evaluation.run.benchmark != kRuler)
      continue;
    const std::optional<Asked> asked = asked_by(evaluation.run);
    if (asked && !evaluation.string_match.empty())
      cells.push_back({&evaluation, *asked});
    else
      ++without;
  }
  const Names names(cells);
  using Key = std::array<std::string, 4>;  // model, setting, strategy, the model's id
  std::map<Key, Answers> found;
  for (const Cell& cell : cells) {
    const auto& [evaluation, asked] = cell;
    const ModelRow& model = data.models.at(evaluation->experiment.model_id);
    found[{model.name, setting_of(*evaluation, asked), names.of(cell), model.id}][asked.length]
         [asked.task][evaluation->experiment.data_id]
             .push_back(evaluation);
  }
  for (const auto& [key, answers] : found) {
    EffectiveLength row{.model = key[0], .strategy = key[2], .setting = key[1]};
    score(answers, data, row);
    out.rows.push_back(std::move(row));
  }
  if (without > 0)
    out.notes.push_back(fmt::format("{} of benchmark=ruler without generated answers: not shown",
                                    plural(static_cast<std::int64_t>(without), "run")));
  if (out.rows.empty()) out.notes.emplace_back("no runs of benchmark=ruler that generated");
  return out;
}

ReportPage effective_length_page(const EffectiveLengths& lengths) {
  const std::set<std::int64_t> all = all_lengths(lengths);
  PageSection averages{
      "effective_length",
      {fmt::format("effective length: the longest at which the average over "
                   "tasks, in percent, is at least {}",
                   percent(kEffectiveScore))},
      {{{"model", false}, {"strategy", false}, {"setting", false}, {"tasks"}, {"samples"}}, {}},
      {}};
  PageSection tasks{
      "tasks",
      {"each task, in percent"},
      {{{"model", false}, {"strategy", false}, {"setting", false}, {"task", false}}, {}},
      {}};
  for (const std::int64_t length : all)
    for (PageSection* section : {&averages, &tasks})
      section->table.columns.push_back({fmt::format("{}", length)});
  averages.table.columns.push_back({"effective"});
  bool fewer = false, few_clusters = false;
  for (const EffectiveLength& row : lengths.rows) {
    std::set<std::size_t> samples;
    for (const auto& [length, scores] : row.lengths) {
      samples.insert(scores.samples);
      few_clusters = few_clusters || scores.clusters < kClustersForInference;
    }
    const std::string strategy =
        row.runs > 1 ? fmt::format("{} (mean of {} runs)", row.strategy, row.runs) : row.strategy;
    TextTable::Row cells = {row.model, strategy, row.setting, fmt::format("{}", row.tasks),
                            *samples.begin() == *samples.rbegin()
                                ? fmt::format("{}", *samples.begin())
                                : fmt::format("{}–{}", *samples.begin(), *samples.rbegin())};
    std::map<std::string, TextTable::Row> by_task;
    for (const std::int64_t length : all) {
      const auto at = row.lengths.find(length);
      const bool there = at != row.lengths.end();
      cells.push_back(
          there && at->second.average ? with_interval(at->second.average, kPercent, 1)
          : there ? TextTable::Cell(fmt::format("{} of {}", at->second.tasks.size(), row.tasks))
                  : kNoValue);
      for (const auto& [other, scores] : row.lengths)
        for (const auto& [task, unused] : scores.tasks) by_task[task];
      for (auto& [task, values] : by_task) {
        const bool scored = there && at->second.tasks.contains(task);
        values.push_back(scored ? with_interval(at->second.tasks.at(task), kPercent, 1) : kNoValue);
      }
    }
    cells.push_back(row.effective ? fmt::format("{}", *row.effective) : "none");
    averages.table.rows.push_back(std::move(cells));
    fewer = fewer || row.tasks < kRulerTasks;
    for (auto& [task, values] : by_task) {
      TextTable::Row line = {row.model, strategy, row.setting, task};
      line.insert(line.end(), values.begin(), values.end());
      tasks.table.rows.push_back(std::move(line));
    }
  }
  if (few_clusters)
    averages.notes.push_back(
        fmt::format("! a task has fewer than {} clusters at some length: read intervals as spread "
                    "only",
                    kClustersForInference));
  if (fewer)
    averages.notes.push_back(
        fmt::format("published effective lengths are over all {} tasks of RULER", kRulerTasks));
  averages.notes.emplace_back(
      "\"3 of 13\": tasks answered at that length, which has no average; string_match_all, for qa "
      "string_match_part. Intervals are 95 %, of the average over resampled clusters within each "
      "task; none where all answers are the same, or a task is one cluster. samples: of the task "
      "that has fewest. Of several runs on the "
      "same samples each sample counts once, with its mean over them: such an interval is of these "
      "masks, not of calibration");
  ReportPage page{{std::move(averages)}, lengths.notes};
  if (!tasks.table.rows.empty()) page.sections.push_back(std::move(tasks));
  return page;
}

ReportPage effective_length_trace(const EffectiveLengths& lengths) {
  PageSection out{"tasks",
                  {},
                  {{{"model", false},
                    {"strategy", false},
                    {"setting", false},
                    {"task", false},
                    {"length"},
                    {"mean"},
                    {"runs", false},
                    {"experiments", false},
                    {"SQL", false}},
                   {}},
                  {}};
  for (const EffectiveLength& row : lengths.rows)
    for (const auto& [length, scores] : row.lengths)
      for (const auto& [task, sources] : scores.sources) {
        const SourceIds ids = ids_of(sources);
        out.table.rows.push_back({row.model, row.strategy, row.setting, task,
                                  fmt::format("{}", length),
                                  fmt::format("{}", scores.tasks.at(task).value), ids.runs,
                                  ids.experiments, mean_sql(metric_sql("string_match"), sources)});
      }
  return {{std::move(out)}, lengths.notes};
}

}  // namespace strata
