#include "runner/cli/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/rng.h"
#include "models/device_memory.h"
#include "models/mixers/mixer_speed.h"
#include "models/training/gated_pass.h"
#include "runner/experiment.h"

namespace strata::cli {
namespace {

using Clock = std::chrono::steady_clock;

Result<std::vector<double>> prefill_seconds(MeteredModel& model, const AttentionPlan& plan,
                                            const Tokens& prompt, int repeats) {
  std::vector<double> seconds;
  for (int repeat = -1; repeat < repeats; ++repeat) {  // −1: warm-up
    const Request request{prompt, &plan};
    ASSIGN_OR_RETURN(const Session session, model.prefill(std::span(&request, 1)));
    if (repeat >= 0) seconds.push_back(session.prefill_seconds(0));
  }
  return seconds;
}

Result<std::vector<double>> decode_seconds(MeteredModel& model, const AttentionPlan& plan,
                                           const std::vector<Tokens>& prompts, std::int64_t steps,
                                           int repeats) {
  std::vector<Request> requests;
  requests.reserve(prompts.size());
  for (const Tokens& prompt : prompts) requests.push_back({prompt, &plan, steps + 1});
  ASSIGN_OR_RETURN(const Session session, model.prefill(requests));
  std::vector<double> seconds;
  for (int repeat = -1; repeat < repeats; ++repeat) {
    Session fork = session.fork();
    const auto start = Clock::now();
    // The first token is the prefill's.
    ASSIGN_OR_RETURN(const std::vector<Tokens> generated,
                     fork.generate({.max_new_tokens = steps + 1, .stop = {}}));
    if (repeat >= 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return seconds;
}

// Forward and backward passes of all prompts with every gate half open, the last kAnswer tokens of
// each scored.
Result<nlohmann::json> gated_passes(const Arguments& arguments, const ExperimentConfig& config,
                                    const Model& model, const std::vector<Tokens>& prompts,
                                    const Progress& progress) {
  constexpr std::size_t kAnswer = 16;
  const std::size_t length = prompts[0].size();
  if (length <= kAnswer)
    return fail(make_error(ErrorKind::kInvalidArgument,
                           "expected more than {} tokens (those that are scored), got {}", kAnswer,
                           length)
                    .at("benchmark.length"));
  const GatedAttention attention{
      .granularity = config.granularity, .cheap = config.cheap_mixer(), .rule = config.decode_rule};
  const Mask units(config.granularity, model.layout(), false);
  const std::vector<double> gates(units.size(), 0.5);
  std::vector<GatedRequest> requests;
  for (const Tokens& prompt : prompts) {
    const std::span<const TokenId> text(prompt);
    requests.push_back(
        {.prompt = text.first(length - kAnswer), .answer = text.last(kAnswer), .gates = gates});
  }
  MeteredModel metered(model);
  const PassLimits limits = pass_limits(model, arguments.activation_mib);
  const PeakMemory peak(model);
  std::vector<double> seconds;
  for (int repeat = -1; repeat < arguments.repeats; ++repeat) {
    const auto start = Clock::now();
    const auto passes = gate_gradients(metered, attention, requests, limits, progress, {});
    if (!passes) return fail(passes.error());
    if (repeat >= 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  return nlohmann::json{
      {"seconds", seconds},
      {"batch", prompts.size()},
      {"memory_bytes", limits.memory_bytes},
      {"least_bytes",
       gated_pass_bytes(model.shape(), static_cast<std::int64_t>(length), 0, 1, attention.cheap)},
      {"peak_bytes", peak.bytes()},
      {"flops", metered.meter().flops / (arguments.repeats + 1)}};
}

nlohmann::json conditions(const ExperimentConfig& config, const Model& model, std::int64_t length) {
  return {{"tokens", length},
          {"threads", worker_threads(config)},
          {"dtype", config.dtype},
          {"device", model.device_name()}};
}

nlohmann::json mixer_line(const Arguments& arguments, const ExperimentConfig& config,
                          const Model& model, std::int64_t length) {
  const MixerSpec mixer =
      config.strategy_name() == "full" ? MixerSpec{FullAttention{}} : config.cheap_mixer();
  nlohmann::json line = conditions(config, model, length);
  line["mixer"] = to_json(mixer);
  line["seconds"] = mixer_seconds(model, mixer, length, arguments.repeats);
  return line;
}

Status print(const nlohmann::json& line) {
  std::printf("%s\n", line.dump().c_str());
  return {};
}

}  // namespace

Status bench(const Arguments& arguments, const ExperimentConfig& config, Progress& progress) {
  const bool decode = arguments.command == Command::kBenchDecode;
  Workbench workbench;
  const bool gates = arguments.command == Command::kBenchGates;  // of all units: no selection
  const bool mixer = arguments.command == Command::kBenchMixer;
  std::optional<SelectedPlan> selected;
  if (!gates && !mixer) {
    ASSIGN_OR_RETURN(selected, run_selection(config, workbench, progress));
  }
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const std::int64_t length, benchmark_length(config));
  set_operation_threads(worker_threads(config));
  if (mixer) return print(mixer_line(arguments, config, *model, length));
  Rng rng(config.seed, "bench");
  const bool several = arguments.command != Command::kBenchPrefill;
  std::vector<Tokens> prompts(several ? static_cast<std::size_t>(config.batch) : 1);
  for (Tokens& prompt : prompts)
    for (std::int64_t i = 0; i < length; ++i)
      prompt.push_back(
          static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(model->shape().vocabulary))));
  nlohmann::json line = conditions(config, *model, length);
  if (gates) {
    ASSIGN_OR_RETURN(const nlohmann::json measured,
                     gated_passes(arguments, config, *model, prompts, progress));
    line.update(measured);
  } else {
    MeteredModel metered(*model);
    ASSIGN_OR_RETURN(std::vector<double> seconds,
                     decode
                         ? decode_seconds(metered, selected->plan, prompts, arguments.new_tokens,
                                          arguments.repeats)
                         : prefill_seconds(metered, selected->plan, prompts[0], arguments.repeats));
    line["plan"] = selected->plan.id();
    line["seconds"] = seconds;
    if (decode) {
      std::sort(seconds.begin(), seconds.end());
      line["batch"] = config.batch;
      line["new_tokens"] = arguments.new_tokens;
      line["median_tokens_per_second"] =
          static_cast<double>(config.batch * arguments.new_tokens) / seconds[seconds.size() / 2];
    }
  }
  return print(line);
}

}  // namespace strata::cli
