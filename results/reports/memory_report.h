// report longmemeval: how many of LongMemEval's questions each plan answers rightly, by the
// benchmark's own checker and by each judge that was asked (strata score), by type of question.
//
// Built from rows alone. A share is over the questions that have a verdict; those without a
// response, without a judgement, with a failed call or an unparsable reply are counted beside it
// and are in no share.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "results/reports/judged_responses.h"
#include "results/reports/leaderboard.h"
#include "results/reports/page.h"

namespace strata {

inline constexpr const char* kCheckerMetric = "gen_contains";
// Rows beside those of the types.
inline constexpr const char *kTaskAveraged = "task-averaged", *kOverall = "overall",
                            *kAbstention = "abstention";

// Some 0/1 verdicts: how many, and the share of ones.
struct VerdictShare {
  std::size_t n = 0;
  std::optional<Estimate> share;
};

// What a judge said of the questions of a row.
struct JudgedCells {
  VerdictShare official, strict;
  std::size_t unparsable = 0;            // by the strict reading
  std::size_t unreadable = 0;            // of these, by the official one too
  std::size_t failed = 0;                // every call so far
  std::size_t unasked = 0;               // answered, and nobody was asked
  std::size_t compared = 0, agreed = 0;  // with the checker, by the official reading
};

struct MemoryRow {
  std::string name;  // a type, or one of the three
  std::size_t questions = 0, missing = 0;
  VerdictShare checker;
  JudgedCells judge;
};

struct MemoryTable {
  std::optional<JudgeIdentity> judge;  // none: nobody was asked
  std::vector<std::string> reported_models;
  std::vector<MemoryRow> rows;  // the types that are asked, task-averaged, overall, abstention
  std::vector<std::string> notes;
};

struct MemoryBlock {
  std::string label, status, model_name, plan_id;
  std::string mixer;           // "" for full attention
  std::size_t other_runs = 0;  // with the same experiment
  std::size_t questions = 0, other_samples = 0, clusters = 0;
  std::vector<std::string> environments;
  std::vector<MemoryTable> tables;  // one a judge
  RowSource source;
};

// By the runs' start. Errors: a filter's; no run asks questions of LongMemEval.
Result<std::vector<MemoryBlock>> memory_report(const Store& store,
                                               const std::vector<KeyFilter>& where);

// csv: one table, with run and judge in every row.
ReportPage memory_page(const std::vector<MemoryBlock>& blocks, ReportFormat format);
// A judge's share of a row, by its own reading, as a query.
std::string judged_share_sql(const RowSource& source, const JudgeIdentity& judge,
                             const std::string& row);
// The rows behind each share, and the query that gives it.
ReportPage memory_trace(const std::vector<MemoryBlock>& blocks);

}  // namespace strata
