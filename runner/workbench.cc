#include "runner/workbench.h"

#include <algorithm>
#include <thread>

#include "benchmarks/truncation_notices.h"
#include "runner/training.h"

namespace strata {
namespace {

std::vector<std::string> notices_of(const std::vector<Sample>& samples) {
  TruncationNotices notices;
  for (const Sample& sample : samples) notices.add(sample.metadata);
  return notices.lines();
}

}  // namespace

int worker_threads(const ExperimentConfig& config) {
  if (config.threads > 0) return config.threads;
  return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
}

int sample_workers(const ExperimentConfig& config) {
  return config.device == "cpu" ? worker_threads(config) : 1;
}

RunLimits run_limits(const ExperimentConfig& config) {
  // Enough rows that the weights are read, and packed by the BLAS, for several prompts at once.
  return {.batch_rows = config.device == "cpu" ? 1024 : 32768};
}

const ScoreCache::Entry* MemoryScoreCache::find(const std::string& key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

Result<const Model*> Workbench::model(const ExperimentConfig& config) {
  const std::string key =
      config.model.path + "|" + config.model.branches + "|" + config.device + "|" + config.dtype;
  auto it = models_.find(key);
  if (it == models_.end()) {
    models_.clear();  // one model at a time: a sweep over models must not hold them all
    prefixes_.clear();
    prefix_bytes_ = 0;
    ASSIGN_OR_RETURN(std::unique_ptr<Model> model,
                     Model::load(config.model.path, {.device = config.device,
                                                     .dtype = config.dtype,
                                                     .threads = 1,
                                                     .branches = config.model.branches}));
    it = models_.emplace(key, std::move(model)).first;
  }
  return it->second.get();
}

Result<const TextTools*> Workbench::text(const ExperimentConfig& config) {
  auto& entry = texts_[config.model.path + "|" + config.model.chat_template];
  if (entry == nullptr) {
    ASSIGN_OR_RETURN(TextTools tools, load_text_tools(config.model));
    entry = std::make_unique<TextTools>(std::move(tools));
  }
  return entry.get();
}

Result<const Task*> Workbench::task(const ExperimentConfig& config) {
  auto& entry = tasks_[task_key(config)];
  if (entry != nullptr) return entry.get();
  ASSIGN_OR_RETURN(const Model* loaded, model(config));
  ASSIGN_OR_RETURN(const TextTools* tools, text(config));
  ASSIGN_OR_RETURN(DrawnTask drawn, draw_task(config, *tools, loaded->shape().max_positions));
  RETURN_IF_ERROR(check_not_trained_on(config.model.path, drawn.samples));
  auto task = std::make_unique<Task>();
  task->benchmark = std::move(drawn.benchmark);
  task->samples = std::move(drawn.samples);
  task->notices = notices_of(task->samples);
  task->calibration.samples = std::move(drawn.calibration);
  task->calibration_notices = notices_of(task->calibration.samples);
  task->calibration.id = content_id(task->calibration.samples);
  entry = std::move(task);
  return entry.get();
}

const SharedPrefix* Workbench::prefix(const std::string& sample_id, std::int64_t length) const {
  const auto it = prefixes_.find({sample_id, length});
  return it == prefixes_.end() ? nullptr : &it->second;
}

void Workbench::keep_prefix(const std::string& sample_id, SharedPrefix prefix,
                            std::uint64_t bytes) {
  if (prefix_bytes_ + bytes > kPrefixBudgetBytes) return;
  const std::int64_t length = prefix.length();
  if (prefixes_.emplace(std::pair(sample_id, length), std::move(prefix)).second)
    prefix_bytes_ += bytes;
}

}  // namespace strata
