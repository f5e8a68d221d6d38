#include "results/reports/row_source.h"

#include <fmt/format.h>

#include "results/reports/format.h"

namespace strata {

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
  return fmt::format("metrics_json ->> '{}'", name);
}

std::string mean_sql(const std::string& value, const std::vector<RowSource>& sources) {
  if (sources.size() == 1)
    return fmt::format("SELECT avg({}) FROM responses {}", value, where(sources[0]));
  std::string all;
  for (const RowSource& source : sources)
    all += fmt::format("{}SELECT sample_id, {} AS value FROM responses {}",
                       all.empty() ? "" : " UNION ALL ", value, where(source));
  return fmt::format(
      "SELECT avg(value) FROM (SELECT avg(value) AS value FROM ({}) GROUP BY sample_id)", all);
}

std::string mean_nll_sql(const RowSource& source) {
  return fmt::format("SELECT avg({}) FROM responses {}", kNllSql, where(source));
}

}  // namespace strata
