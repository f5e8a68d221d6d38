// Samples as a benchmark of a job draws them; no model is loaded, only its tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "benchmarks/benchmark.h"
#include "core/result.h"
#include "models/tokenizer/chat_template.h"
#include "models/tokenizer/tokenizer.h"
#include "runner/experiment_config.h"

namespace strata {

struct TextTools {
  Tokenizer tokenizer;
  ChatTemplate chat;
};

// STRATA_DATA, or the config's `data`; empty where neither is set.
std::filesystem::path data_dir(const ExperimentConfig& config);
Result<TextTools> load_text_tools(const ModelConfig& model);

// The benchmark's samples of one split, drawn as the config says.
Result<std::vector<Sample>> draw_samples(const ExperimentConfig& config, const Benchmark& benchmark,
                                         const TextTools& text, std::int64_t max_positions,
                                         Split split);

// What a job asks, and what its selector may look at.
struct DrawnTask {
  std::unique_ptr<Benchmark> benchmark;
  std::vector<Sample> samples, calibration;
};
// Jobs with one key draw the same. Errors: of either draw; content that both share.
std::string task_key(const ExperimentConfig& config);
Result<DrawnTask> draw_task(const ExperimentConfig& config, const TextTools& text,
                            std::int64_t max_positions);

// `strata samples`: id, prompt, answers, metadata of each sample that would be
// evaluated.
Result<std::vector<nlohmann::json>> sample_lines(const ExperimentConfig& config);

}  // namespace strata
