// The evidence of one selection, read off its stored score tensor: what each unit is worth and with
// what certainty, how much of the set is the calibration prompts' doing, and whether what single
// toggles promise holds for the set. No model runs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "results/reports/text_table.h"
#include "results/rows.h"
#include "results/statistics.h"

namespace strata {

struct UnitEvidence {
  std::vector<std::string> lines;  // for people, a sentence each
  // layer, unit, kept, score, standard error, and with a tensor: 95 % interval, inclusion.
  TextTable table;
  std::vector<std::optional<Interval>> intervals;  // as in the table, [row]; empty without a tensor
};

// tensor: null where the selection stored none. plan_nll: answer NLL of the chosen plan on the
// calibration prompts, where it was measured.
Result<UnitEvidence> unit_evidence(const SelectionRow& selection, const ScoreTensor* tensor,
                                   std::optional<double> plan_nll);

}  // namespace strata
