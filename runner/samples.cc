#include "runner/samples.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "benchmarks/registry.h"

namespace strata {

std::filesystem::path data_dir(const ExperimentConfig& config) {
  if (!config.data.empty()) return config.data;
  const char* from_environment = std::getenv("STRATA_DATA");
  return from_environment != nullptr ? from_environment : "";
}

Result<TextTools> load_text_tools(const ModelConfig& model) {
  ASSIGN_OR_RETURN(Tokenizer tokenizer, Tokenizer::load(model.path));
  ASSIGN_OR_RETURN(ChatTemplate chat, ChatTemplate::for_model(tokenizer, model.chat_template));
  return TextTools{std::move(tokenizer), std::move(chat)};
}

Result<std::vector<Sample>> draw_samples(const ExperimentConfig& config, const Benchmark& benchmark,
                                         const TextTools& text, std::int64_t max_positions,
                                         Split split) {
  const bool calibration = split == Split::kCalibration;
  const SampleRequest request{
      .count = calibration ? config.calibration.samples : config.benchmark_samples(),
      .seed = calibration ? config.calibration_seed() : config.benchmark_seed(),
      .split = split,
      .tokenizer = text.tokenizer,
      .chat = text.chat,
      .max_positions = max_positions,
      .window = config.mixer.window,
      .data_dir = data_dir(config)};
  ASSIGN_OR_RETURN(std::vector<Sample> samples, benchmark.samples(request));
  if (samples.empty())
    return fail(ErrorKind::kInvalidArgument, "benchmark {} gave no {} samples", benchmark.name(),
                to_string(split));
  return samples;
}

std::string task_key(const ExperimentConfig& config) {
  return nlohmann::json{config.benchmark.to_json(),
                        config.benchmark_seed(),
                        config.calibration_seed(),
                        config.calibration.samples,
                        config.calibration.benchmark.to_json(),
                        config.mixer.window,
                        config.model.path,
                        config.model.chat_template,
                        data_dir(config).string()}
      .dump();
}

Result<DrawnTask> draw_task(const ExperimentConfig& config, const TextTools& text,
                            std::int64_t max_positions) {
  DrawnTask task;
  ASSIGN_OR_RETURN(task.benchmark, make_benchmark(config.benchmark_name(), config.benchmark_own()));
  ASSIGN_OR_RETURN(task.samples, draw_samples(config, *task.benchmark, text, max_positions,
                                              config.benchmark_split()));
  std::unique_ptr<Benchmark> other;
  if (const std::string name = config.calibration_benchmark_name(); !name.empty()) {
    ASSIGN_OR_RETURN(other, make_benchmark(name, config.calibration.benchmark,
                                           {"calibration.benchmark", {"name"}}));
  }
  Result<std::vector<Sample>> drawn = draw_samples(config, other ? *other : *task.benchmark, text,
                                                   max_positions, Split::kCalibration);
  if (!drawn) return fail(std::move(drawn).error().at("calibration"));
  task.calibration = *std::move(drawn);
  RETURN_IF_ERROR(check_disjoint(task.calibration, task.samples));
  return task;
}

Result<std::vector<nlohmann::json>> sample_lines(const ExperimentConfig& config) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Benchmark> benchmark,
                   make_benchmark(config.benchmark_name(), config.benchmark_own()));
  ASSIGN_OR_RETURN(const TextTools text, load_text_tools(config.model));
  ASSIGN_OR_RETURN(
      const std::vector<Sample> samples,
      draw_samples(config, *benchmark, text, /*max_positions=*/0, config.benchmark_split()));
  std::vector<nlohmann::json> lines;
  lines.reserve(samples.size());
  for (const Sample& sample : samples)
    lines.push_back({{"id", sample.id},
                     {"prompt", sample.prompt_text},
                     {"prompt_tokens", sample.prompt.size()},
                     {"answers", sample.answers},
                     {"answer_given", sample.answer_given},
                     {"cluster", sample.cluster},
                     {"metadata", sample.metadata}});
  return lines;
}

}  // namespace strata
