#include "runner/cli/bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/rng.h"
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

}  // namespace

Status bench(const Arguments& arguments, const ExperimentConfig& config, Progress& progress) {
  const bool decode = arguments.command == Command::kBenchDecode;
  Workbench workbench;
  ASSIGN_OR_RETURN(const SelectedPlan selected, run_selection(config, workbench, progress));
  ASSIGN_OR_RETURN(const Model* model, workbench.model(config));
  ASSIGN_OR_RETURN(const std::int64_t length, benchmark_length(config));
  set_operation_threads(worker_threads(config));
  Rng rng(config.seed, "bench");
  std::vector<Tokens> prompts(decode ? static_cast<std::size_t>(config.batch) : 1);
  for (Tokens& prompt : prompts)
    for (std::int64_t i = 0; i < length; ++i)
      prompt.push_back(
          static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(model->shape().vocabulary))));
  MeteredModel metered(*model);
  ASSIGN_OR_RETURN(const std::vector<double> seconds,
                   decode ? decode_seconds(metered, selected.plan, prompts, arguments.new_tokens,
                                           arguments.repeats)
                          : prefill_seconds(metered, selected.plan, prompts[0], arguments.repeats));
  nlohmann::json line = {{"tokens", length},           {"threads", worker_threads(config)},
                         {"dtype", config.dtype},      {"device", model->device_name()},
                         {"plan", selected.plan.id()}, {"seconds", seconds}};
  if (decode) {
    std::vector<double> sorted = seconds;
    std::sort(sorted.begin(), sorted.end());
    line["batch"] = config.batch;
    line["new_tokens"] = arguments.new_tokens;
    line["median_tokens_per_second"] =
        static_cast<double>(config.batch * arguments.new_tokens) / sorted[sorted.size() / 2];
  }
  std::printf("%s\n", line.dump().c_str());
  return {};
}

}  // namespace strata::cli
