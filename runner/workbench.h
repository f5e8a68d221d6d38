// Workbench: what the jobs of one process share: the loaded model, tokenizers, generated samples,
// scores of units and the prompts' shared prefixes. Filled on demand; owned by one thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "core/progress.h"
#include "core/result.h"
#include "core/sample.h"
#include "models/model.h"
#include "runner/experiment_config.h"
#include "runner/samples.h"
#include "strategies/strategy.h"

namespace strata {

struct Task {
  std::unique_ptr<Benchmark> benchmark;
  std::vector<Sample> samples;
  CalibrationSet calibration;
  // What was left out of the samples to make them fit.
  std::vector<std::string> notices, calibration_notices;
  std::string benchmark_data_id;
};

class MemoryScoreCache final : public ScoreCache {
 public:
  const Entry* find(const std::string& key) const override;
  void insert(const std::string& key, Entry entry) override { entries_[key] = std::move(entry); }

 private:
  std::map<std::string, Entry> entries_;
};

class Workbench {
 public:
  Result<const Model*> model(const ExperimentConfig& config);
  Result<const TextTools*> text(const ExperimentConfig& config);
  // Samples to evaluate and a disjoint calibration set; checked by content.
  Result<const Task*> task(const ExperimentConfig& config);
  ScoreCache& scores() { return scores_; }

  // Prefixes of samples, kept as long as they fit prefix_budget_bytes; null where one is not kept.
  const SharedPrefix* prefix(const std::string& sample_id, std::int64_t length) const;
  void keep_prefix(const std::string& sample_id, SharedPrefix prefix, std::uint64_t bytes);

 private:
  static constexpr std::uint64_t kPrefixBudgetBytes = std::uint64_t{2} << 30;
  std::map<std::string, std::unique_ptr<Model>> models_;
  std::map<std::string, std::unique_ptr<TextTools>> texts_;
  std::map<std::string, std::unique_ptr<Task>> tasks_;
  std::map<std::pair<std::string, std::int64_t>, SharedPrefix> prefixes_;
  std::uint64_t prefix_bytes_ = 0;
  MemoryScoreCache scores_;
};

// Cores for the config: `threads`, or all there are. On the CPU, samples are spread over them, one
// thread each.
int worker_threads(const ExperimentConfig& config);
// How many samples run at once: one a thread on the CPU, one after the other on a GPU.
int sample_workers(const ExperimentConfig& config);
RunLimits run_limits(const ExperimentConfig& config);  // what the device computes at once

}  // namespace strata
