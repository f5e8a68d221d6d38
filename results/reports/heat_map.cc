#include "results/reports/heat_map.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <tuple>

#include "results/reports/format.h"
#include "results/reports/judged_responses.h"
#include "results/reports/needle_facts.h"
#include "results/reports/row_source.h"

namespace strata {
namespace {

constexpr double kPercent = 100;

using Place = std::pair<std::int64_t, double>;  // length, depth

class Mean {
 public:
  void add(const std::vector<double>& values, std::size_t i) {
    sum_ += i < values.size() ? values[i] : std::nan("");
    ++count_;
  }
  std::optional<double> value() const {
    return std::isfinite(sum_) ? std::optional(sum_ / static_cast<double>(count_)) : std::nullopt;
  }

 private:
  double sum_ = 0;
  std::int64_t count_ = 0;
};

std::string name_of(const Evaluation& evaluation) {
  const RunRow& run = evaluation.run;
  std::string out = evaluation.name();
  if (run.budget_fraction) out += fmt::format(" · {} %", percent(*run.budget_fraction));
  if (run.budget_units) out += fmt::format(" · {} units", *run.budget_units);
  const std::string mixer = mixer_text(run, &evaluation.plan);
  if (mixer.empty()) return out;
  return out + fmt::format(" · {} · decode {}", mixer, to_string(run.decode_rule));
}

// Places by sample.
using Places = std::map<std::string, Place>;

void add_judgements(const std::vector<JudgementRow>& rows, const Evaluation& evaluation,
                    const Places& places, HeatMap& map) {
  for (const auto& [identity, judged] : judged_responses(rows, evaluation.executions)) {
    if (identity.rubrics != kNeedleRubrics) continue;
    const std::string judge =
        fmt::format("{} at {} {}", identity.model, identity.endpoint, identity.settings_json);
    std::map<Place, std::pair<double, double>> sums;  // of scores, of ones
    for (const auto& [sample, row] : judged) {
      const std::optional<int> score = needle_score(row);
      if (!score) {
        ++map.unscored[judge];
        continue;
      }
      auto& [sum, count] = sums[places.at(sample)];
      sum += *score;
      ++count;
    }
    for (HeatCell& cell : map.cells)
      if (const auto found = sums.find({cell.length, cell.depth}); found != sums.end())
        cell.judged[judge] = found->second.first / found->second.second;
  }
}

HeatMap map_of(const Evaluation& evaluation, const std::vector<Place>& places) {
  struct Sums {
    std::size_t samples = 0;
    Mean right, nll;
  };
  std::map<Place, Sums> cells;
  for (std::size_t i = 0; i < places.size(); ++i) {
    Sums& cell = cells[places[i]];
    ++cell.samples;
    cell.right.add(evaluation.gen_contains, i);
    cell.nll.add(evaluation.nll, i);
  }
  HeatMap out{name_of(evaluation), {}, {}, evaluation.source()};
  for (const auto& [place, sums] : cells)
    out.cells.push_back(
        {place.first, place.second, sums.samples, sums.right.value(), sums.nll.value(), {}});
  return out;
}

using Value = std::function<std::optional<double>(const HeatCell&)>;

std::set<std::string> judges_of(const HeatMap& map) {
  std::set<std::string> out;
  for (const HeatCell& cell : map.cells)
    for (const auto& [judge, score] : cell.judged) out.insert(judge);
  for (const auto& [judge, count] : map.unscored) out.insert(judge);
  return out;
}

TextTable grid_of(const HeatMap& map, const Value& value, int decimals) {
  std::set<std::int64_t> lengths;
  std::map<double, std::map<std::int64_t, TextTable::Cell>> by_depth;
  for (const HeatCell& cell : map.cells) {
    lengths.insert(cell.length);
    by_depth[cell.depth].insert_or_assign(cell.length, number(value(cell), decimals));
  }
  TextTable out{{{"depth %"}}, {}};
  for (const std::int64_t length : lengths) out.columns.push_back({fmt::format("{}", length)});
  for (const auto& [depth, row] : by_depth) {
    TextTable::Row cells = {fmt::format("{:g}", depth)};
    for (const std::int64_t length : lengths) {
      const auto found = row.find(length);
      cells.push_back(found == row.end() ? kNoValue : found->second);
    }
    out.rows.push_back(std::move(cells));
  }
  return out;
}

// None where cells differ in it.
std::optional<std::size_t> samples_a_cell(const HeatMap& map) {
  const std::size_t n = map.cells.front().samples;
  const bool same = std::all_of(map.cells.begin(), map.cells.end(),
                                [n](const HeatCell& cell) { return cell.samples == n; });
  return same ? std::optional(n) : std::nullopt;
}

void add_grids(const HeatMap& map, ReportPage& page) {
  const std::optional<std::size_t> samples = samples_a_cell(map);
  const std::string n = samples ? fmt::format("n = {} a cell", *samples) : "n below";
  const auto add = [&](const std::string& metric, const Value& value, int decimals,
                       std::vector<std::string> notes) {
    page.sections.push_back({"grid",
                             {fmt::format("{} · {} by depth and length · {} · run {}", map.name,
                                          metric, n, short_id(map.source.run_id))},
                             grid_of(map, value, decimals),
                             std::move(notes)});
  };
  add("gen_contains %",
      [](const HeatCell& cell) {
        return cell.gen_contains ? std::optional(*cell.gen_contains * kPercent) : std::nullopt;
      },
      0, {});
  add("answer NLL", [](const HeatCell& cell) { return cell.answer_nll; }, 2, {});
  if (!samples)
    add("samples", [](const HeatCell& cell) { return static_cast<double>(cell.samples); }, 0, {});
  for (const std::string& judge : judges_of(map)) {
    std::vector<std::string> notes;
    if (const auto unscored = map.unscored.find(judge); unscored != map.unscored.end())
      notes.push_back(fmt::format(
          "{} without a score (no [[1]] to [[10]] in the reply, or the call failed): in no cell",
          plural(static_cast<std::int64_t>(unscored->second), "response")));
    add(
        "score of 10 by " + judge,
        [&](const HeatCell& cell) {
          const auto score = cell.judged.find(judge);
          return score == cell.judged.end() ? std::nullopt : std::optional(score->second);
        },
        1, std::move(notes));
  }
}

// With what judges said, where there is a store to ask.
Result<std::vector<HeatMap>> maps_of(const LeaderboardData& data, const Store* store) {
  std::vector<HeatMap> out;
  for (const Evaluation& evaluation : data.evaluations) {
    if (!evaluation.shown) continue;
    std::vector<Place> places;
    Places by_sample;
    for (const SampleRow& sample : data.data.at(evaluation.experiment.data_id).samples)
      if (const std::optional<NeedleFacts> facts = needle_facts(sample)) {
        places.emplace_back(facts->length, facts->depth);
        by_sample[sample.id] = places.back();
      }
    if (places.empty() || places.size() != evaluation.nll.size()) continue;
    out.push_back(map_of(evaluation, places));
    if (store == nullptr) continue;
    ASSIGN_OR_RETURN(const std::vector<JudgementRow> judged,
                     store->judgements_of(evaluation.experiment.id));
    add_judgements(judged, evaluation, by_sample, out.back());
  }
  return out;
}

}  // namespace

std::vector<HeatMap> heat_maps(const LeaderboardData& data) { return *maps_of(data, nullptr); }

Result<std::vector<HeatMap>> heat_maps(const Store& store, const LeaderboardRequest& request) {
  ASSIGN_OR_RETURN(const LeaderboardData data, load_leaderboard_data(store, request));
  ASSIGN_OR_RETURN(std::vector<HeatMap> out, maps_of(data, &store));
  if (out.empty())
    return fail(make_error(ErrorKind::kNotFound,
                           "expected a finished run whose samples have a length and a depth, got "
                           "none")
                    .with_hint("strata run benchmark=niah_grid calibration=niah"));
  return out;
}

ReportPage heat_map_page(const std::vector<HeatMap>& maps, ReportFormat format) {
  ReportPage page;
  if (format == ReportFormat::kCsv) {
    PageSection cells{"cells",
                      {},
                      {{{"run", false},
                        {"plan", false},
                        {"length"},
                        {"depth"},
                        {"samples"},
                        {"gen_contains"},
                        {"answer_nll"},
                        {"judge", false},
                        {"score"}},
                       {}},
                      {}};
    for (const HeatMap& map : maps)
      for (const HeatCell& cell : map.cells) {
        TextTable::Row line = {map.source.run_id,
                               map.name,
                               fmt::format("{}", cell.length),
                               fmt::format("{:g}", cell.depth),
                               fmt::format("{}", cell.samples),
                               number(cell.gen_contains, 4),
                               number(cell.answer_nll, 4)};
        if (cell.judged.empty()) {
          line.insert(line.end(), {"", ""});
          cells.table.rows.push_back(std::move(line));
          continue;
        }
        for (const auto& [judge, score] : cell.judged) {
          cells.table.rows.push_back(line);
          cells.table.rows.back().insert(cells.table.rows.back().end(), {judge, number(score, 2)});
        }
      }
    page.sections.push_back(std::move(cells));
    return page;
  }
  for (const HeatMap& map : maps) add_grids(map, page);
  page.footer = {
      "Depth 0 is the beginning of the context. n: samples; differences between single cells of "
      "few "
      "are noise."};
  return page;
}

ReportPage heat_map_trace(const std::vector<HeatMap>& maps) {
  PageSection out{"cells",
                  {},
                  {{{"plan", false},
                    {"length"},
                    {"depth"},
                    {"number", false},
                    {"value"},
                    {"run", false},
                    {"experiment", false},
                    {"SQL", false}},
                   {}},
                  {}};
  for (const HeatMap& map : maps)
    for (const HeatCell& cell : map.cells)
      for (const auto& [name, sql, value] :
           {std::tuple("gen_contains", metric_sql("gen_contains"), cell.gen_contains),
            std::tuple("answer_nll", std::string(kNllSql), cell.answer_nll)})
        if (value)
          out.table.rows.push_back(
              {map.name, fmt::format("{}", cell.length), fmt::format("{}", cell.depth), name,
               fmt::format("{}", *value), map.source.run_id, map.source.experiment_id,
               mean_sql(sql, map.source,
                        fmt::format("metadata_json ->> '$.cell.length' = {} AND metadata_json ->> "
                                    "'$.cell.depth' = {}",
                                    cell.length, cell.depth))});
  return {{std::move(out)},
          {"judges' scores are of the latest judgement of each response: table judgements"}};
}

}  // namespace strata
