// The rows behind a number, as a query names them.
#pragma once

#include <string>
#include <vector>

#include "results/reports/judged_responses.h"
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

// A metric of a response, as SQL; "string_match" is string_match_all, or else string_match_part.
std::string metric_sql(const std::string& name);
// The mean of a value of a source's responses; of those to the samples that meet a condition on
// their rows, where one is given.
std::string mean_sql(const std::string& value, const RowSource& source,
                     const std::string& condition = "");
// The mean of the second minus that of the first.
std::string difference_sql(const std::string& value, const RowSource& first,
                           const RowSource& second);
// What a judge said of a source's responses, as a table: of several calls about one the latest that
// did not fail, else a failed one, as judged_responses() takes them.
std::string judgements_sql(const RowSource& source, const JudgeIdentity& judge);
// Over the samples of several sources, each sample with its mean over them.
std::string mean_sql(const std::string& value, const std::vector<RowSource>& sources);

// A response's answer NLL.
inline constexpr const char* kNllSql = "(SELECT avg(value) FROM json_each(answer_nll_json))";

}  // namespace strata
