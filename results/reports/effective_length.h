// Effective length as RULER has it (arXiv 2404.06654): the longest length at which the average over
// tasks is at least 85.6 %, what Llama-2-7B scores at 4,096 tokens. Built from rows alone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "results/reports/leaderboard.h"
#include "results/reports/page.h"
#include "results/statistics.h"

namespace strata {

inline constexpr double kEffectiveScore = 0.856;
inline constexpr std::size_t kRulerTasks = 13;

struct LengthScores {
  std::size_t samples = 0;                // of the task that has fewest
  std::size_t clusters = 0;               // likewise
  std::map<std::string, Estimate> tasks;  // 0 … 1: means over samples, each its mean over runs
  std::map<std::string, std::vector<RowSource>> sources;  // of each task's
  // Over tasks, which stay the same ones (mean_of_group_means()); none where one is missing that
  // the row has at another length.
  std::optional<Estimate> average;
};

// Runs that differ in task, length and seed alone.
struct EffectiveLength {
  std::string model, strategy, setting;
  std::map<std::int64_t, LengthScores> lengths;  // in tokens
  std::size_t tasks = 0;                         // at any length
  std::optional<std::int64_t> effective;         // none: no length reaches the score
  std::size_t runs = 0;                          // on the same samples, at most
};

struct EffectiveLengths {
  std::vector<EffectiveLength> rows;  // by model, setting, strategy
  std::vector<std::string> notes;
};

// Of finished runs of benchmark=ruler on the test split that generated; request.benchmark is not
// looked at.
Result<EffectiveLengths> effective_lengths(const Store& store, const LeaderboardRequest& request);

ReportPage effective_length_page(const EffectiveLengths& lengths);
// The rows behind each task's number, and the query that gives it.
ReportPage effective_length_trace(const EffectiveLengths& lengths);

}  // namespace strata
