// Rows to and from SQL values, in the column order of schema.cc. from_values checks types: a
// database may have been edited by hand.
#pragma once

#include "results/rows.h"
#include "results/sqlite.h"

namespace strata {

// Brings JSON fields to canonical form; refuses text that is no JSON and numbers that are not
// finite.
Result<SqlRow> to_values(const ModelRow& row);
Result<SqlRow> to_values(const TokenizerRow& row);
Result<SqlRow> to_values(const PlanRow& row);
Result<SqlRow> to_values(const SampleRow& row);
Result<SqlRow> to_values(const ExperimentRow& row);
Result<SqlRow> to_values(const SelectionRow& row);
Result<SqlRow> to_values(const RunRow& row);
Result<SqlRow> to_values(const ExecutionRow& row);
Result<SqlRow> to_values(const ResponseRow& row);

Status from_values(const SqlRow& values, ModelRow& row);
Status from_values(const SqlRow& values, PlanRow& row);
Status from_values(const SqlRow& values, SampleRow& row);
Status from_values(const SqlRow& values, ExperimentRow& row);
Status from_values(const SqlRow& values, SelectionRow& row);
Status from_values(const SqlRow& values, RunRow& row);
Status from_values(const SqlRow& values, ExecutionRow& row);
Status from_values(const SqlRow& values, ResponseRow& row);

}  // namespace strata
