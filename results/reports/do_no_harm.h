// The harm that a plan does to running text: its NLL of local text minus full attention's, on the
// same samples.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "results/reports/leaderboard_data.h"

namespace strata {

class HarmToText {
 public:
  // Keeps references into `data`.
  HarmToText(const LeaderboardData& data, std::uint64_t bootstrap_seed);
  // Of the plan of an evaluation on another benchmark; paired, t over independent samples,
  // bootstrap over clusters else. None where no run of the same model and plan answered running
  // text that full attention answered too. Of several such data sets the largest counts.
  std::optional<Estimate> of(const Evaluation& evaluation) const;

 private:
  using ModelAndPlan = std::pair<std::string, std::string>;
  const LeaderboardData& data_;
  std::uint64_t seed_;
  std::multimap<ModelAndPlan, const Evaluation*> texts_;
  std::multimap<std::string, const Evaluation*> fulls_;  // by model
};

}  // namespace strata
