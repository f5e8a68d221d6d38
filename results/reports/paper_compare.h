// Ours beside what a paper published: a verdict for each number, and whether the order of two
// methods holds. A number is `reproduced` or `differs` only where model, benchmark, task, length,
// budget, mixer, tuning and metric are the published ones.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "results/reports/leaderboard.h"
#include "results/reports/page.h"
#include "results/reports/paper_table.h"

namespace strata {

enum class PaperVerdict {
  kReproduced,     // the published value lies inside our 95 % interval, of ≥ 20 clusters
  kDiffers,        // outside
  kNotComparable,  // of another setting: the reasons say which
  kNotRun,
  kNoMethod,     // strata does not have the method
  kConflicting,  // the sources disagree about the published value
};
inline constexpr std::array kPaperVerdicts = {
    PaperVerdict::kReproduced, PaperVerdict::kDiffers,  PaperVerdict::kNotComparable,
    PaperVerdict::kNotRun,     PaperVerdict::kNoMethod, PaperVerdict::kConflicting};
std::string_view to_string(PaperVerdict verdict);

struct PaperLine {
  std::size_t table = 0, row = 0, column = 0;  // of the paper
  PaperVerdict verdict = PaperVerdict::kNotRun;
  std::vector<std::string> reasons;
  std::optional<Estimate> ours;  // 0 to 1; none beside another unit, benchmark or task
  std::string metric, label;     // of ours
  std::size_t samples = 0;       // that ours answers
  std::string run_id, sql;       // of ours, and the query that gives it
};

// Two methods of a table of one published setting, and of ours under one setting.
struct PaperOrder {
  std::size_t table = 0, first = 0, second = 0;   // rows
  std::size_t above = 0, below = 0, columns = 0;  // columns in which the first is published so
  std::string setting, metric;                    // of ours
  Estimate difference;                            // ours, first − second, paired
  std::size_t clusters = 0;                       // of ours
  std::string run_ids, sql;                       // of ours, and the query of the difference
  // "holds in 9 of 12", "reversed …"; "not resolved" where the interval contains 0, or is of fewer
  // than kClustersForInference clusters.
  std::string verdict() const;
};

struct PaperComparison {
  std::vector<PaperLine> lines;
  std::vector<PaperOrder> orders;
};

// store: null = no database, nothing was run. Of several evaluations of a method the one that
// differs least from the published setting; of those, the lowest calibration NLL.
Result<PaperComparison> compare_paper(const Paper& paper, const Store* store,
                                      const LeaderboardRequest& request);

// csv has no lines below its tables: there the reasons and notes stand in the rows.
ReportPage paper_page(const Paper& paper, const PaperComparison& comparison, ReportFormat format);

// The runs behind each of our numbers, and the query that gives it.
ReportPage paper_trace(const Paper& paper, const PaperComparison& comparison);

struct NamedPaper {
  std::string name;  // of the file
  Paper paper;
};
ReportPage papers_page(const std::vector<NamedPaper>& papers);

}  // namespace strata
