// The rows behind a number, as a query names them.
#pragma once

#include <string>
#include <vector>

#include "results/reports/leaderboard.h"

namespace strata {

// Of several sources each id once, spaces between them.
struct SourceIds {
  std::string runs, selections, experiments, executions;
};
SourceIds ids_of(const std::vector<RowSource>& sources);

// "WHERE …" of the responses of a source; samples are named only where several executions share
// them.
std::string where(const RowSource& source);

// A metric of a response, as SQL.
std::string metric_sql(const std::string& name);
// The mean of a value of a source's responses; of those to the samples that meet a condition on
// their rows, where one is given.
std::string mean_sql(const std::string& value, const RowSource& source,
                     const std::string& condition = "");
// Over the samples of several sources, each sample with its mean over them.
std::string mean_sql(const std::string& value, const std::vector<RowSource>& sources);

// A response's answer NLL.
inline constexpr const char* kNllSql = "(SELECT avg(value) FROM json_each(answer_nll_json))";

}  // namespace strata
