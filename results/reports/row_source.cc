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

std::string mean_nll_sql(const RowSource& source) {
  return fmt::format("SELECT avg({}) FROM responses {}", kNllSql, where(source));
}

}  // namespace strata
