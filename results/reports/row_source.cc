#include "results/reports/row_source.h"

#include <fmt/format.h>

#include "results/reports/format.h"

namespace strata {

SourceIds ids_of(const std::vector<RowSource>& sources) {
  SourceIds out;
  const auto add = [](std::string& to, const std::string& id) {
    if (!id.empty() && to.find(id) == std::string::npos) to += (to.empty() ? "" : " ") + id;
  };
  for (const RowSource& source : sources) {
    add(out.runs, source.run_id);
    add(out.selections, source.selection_id);
    add(out.experiments, source.experiment_id);
    for (const auto& [execution, samples] : source.executions) add(out.executions, execution);
  }
  return out;
}

std::string where(const RowSource& source) {
  std::string executions;
  for (const auto& [execution, samples] : source.executions) {
    if (!executions.empty()) executions += " OR ";
    executions += fmt::format("execution_id = '{}'", execution);
    if (source.executions.size() > 1)
      executions += fmt::format(" AND sample_id IN ({})", sql_list(samples));
  }
  return fmt::format("WHERE experiment_id = '{}' AND ({})", source.experiment_id, executions);
}

std::string metric_sql(const std::string& name) {
  if (name == "string_match")
    return fmt::format("coalesce({}, {})", metric_sql("string_match_all"),
                       metric_sql("string_match_part"));
  return fmt::format("metrics_json ->> '{}'", name);
}

std::string mean_sql(const std::string& value, const RowSource& source,
                     const std::string& condition) {
  std::string sql = fmt::format("SELECT avg({}) FROM responses {}", value, where(source));
  if (!condition.empty())
    sql += fmt::format(" AND sample_id IN (SELECT id FROM samples WHERE {})", condition);
  return sql;
}

std::string difference_sql(const std::string& value, const RowSource& first,
                           const RowSource& second) {
  return fmt::format("SELECT ({}) - ({})", mean_sql(value, second), mean_sql(value, first));
}

std::string judgements_sql(const RowSource& source, const JudgeIdentity& judge) {
  return fmt::format(
      "(SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY sample_id ORDER BY verdict = "
      "'failed', judged DESC, id DESC) AS place FROM judgements {} AND judge_model = {} AND "
      "endpoint = {} AND settings_json = {} AND instr(rubric || '/', {}) = 1) WHERE place = 1)",
      where(source), sql_text(judge.model), sql_text(judge.endpoint), sql_text(judge.settings_json),
      sql_text(judge.rubrics + "/"));
}

std::string mean_sql(const std::string& value, const std::vector<RowSource>& sources) {
  if (sources.size() == 1) return mean_sql(value, sources[0]);
  std::string all;
  for (const RowSource& source : sources)
    all += fmt::format("{}SELECT sample_id, {} AS value FROM responses {}",
                       all.empty() ? "" : " UNION ALL ", value, where(source));
  return fmt::format(
      "SELECT avg(value) FROM (SELECT avg(value) AS value FROM ({}) GROUP BY sample_id)", all);
}

}  // namespace strata
