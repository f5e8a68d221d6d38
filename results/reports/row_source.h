// The rows behind a number, as a query names them.
#pragma once

#include <string>
#include <vector>

#include "results/reports/leaderboard.h"

namespace strata {

// "WHERE …" of the responses of a source; samples are named only where several executions share
// them.
std::string where(const RowSource& source);

// A metric of a response, as SQL.
std::string metric_sql(const std::string& name);
// The mean of a value of responses over the samples of several sources, each sample with its mean
// over them.
std::string mean_sql(const std::string& value, const std::vector<RowSource>& sources);

// The mean answer NLL of a source.
std::string mean_nll_sql(const RowSource& source);
inline constexpr const char* kNllSql = "(SELECT avg(value) FROM json_each(answer_nll_json))";

}  // namespace strata
