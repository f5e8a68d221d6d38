// Rows to and from SQL values, in the column order of schema.cc. from_values checks types: a
// database may have been edited by hand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "results/rows.h"
#include "results/sqlite.h"

namespace strata {

// Little-endian float32, as blobs hold it.
std::string float32_bytes(const std::vector<float>& values);
std::vector<float> float32_values(std::string_view bytes);

// A mask with its granularity and layout, as JSON; `what` names it in errors.
std::string context_json(const ScoreTensor& tensor);
Status read_context(const std::string& text, std::string_view what, ScoreTensor& tensor);

// Brings JSON fields to canonical form; refuses text that is no JSON and numbers that are not
// finite.
Result<SqlRow> to_values(const ModelRow& row);
Result<SqlRow> to_values(const TokenizerRow& row);
Result<SqlRow> to_values(const PlanRow& row);
Result<SqlRow> to_values(const SampleRow& row);
Result<SqlRow> to_values(const ExperimentRow& row);
Result<SqlRow> to_values(const ScoreTensorRow& row);
Result<SqlRow> to_values(const SelectionRow& row);
Result<SqlRow> to_values(const RunRow& row);
Result<SqlRow> to_values(const ExecutionRow& row);
Result<SqlRow> to_values(const ResponseRow& row);
Result<SqlRow> to_values(const JudgementRow& row);

// The text in a column, counted from 0.
Result<std::string> text_of(const SqlRow& values, std::size_t column);

Status from_values(const SqlRow& values, ModelRow& row);
Status from_values(const SqlRow& values, PlanRow& row);
Status from_values(const SqlRow& values, SampleRow& row);
Status from_values(const SqlRow& values, ExperimentRow& row);
Status from_values(const SqlRow& values, ScoreTensorRow& row);
Status from_values(const SqlRow& values, SelectionRow& row);
Status from_values(const SqlRow& values, RunRow& row);
Status from_values(const SqlRow& values, ExecutionRow& row);
Status from_values(const SqlRow& values, ResponseRow& row);
Status from_values(const SqlRow& values, JudgementRow& row);

}  // namespace strata
