// ScoreConfig: what `strata score` depends on, bound from configs/score.yaml and overrides.
#pragma once

#include <string>

#include "benchmarks/judge/judge_config.h"
#include "runner/config/compose.h"
#include "runner/experiment_config.h"

namespace strata {

struct ScoreConfig {
  std::string db = "results.db";
  JudgeConfig judge;
  template <typename Self, typename Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("db", self.db, "the database whose responses are judged");
    visit("judge", self.judge, "who judges, and how patiently it is asked");
  }
};

// Composes and binds. Refused before anything else: keys that there are not, by an error that has
// the key and not its value (`judge.key=…` has the secret there). One job: sweeps are refused.
Result<ScoreConfig> load_score(const LoadRequest& request);
config::ComposeOptions score_options(const LoadRequest& request);

}  // namespace strata
