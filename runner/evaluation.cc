#include "runner/evaluation.h"

#include <algorithm>
#include <chrono>

#include "models/cost.h"
#include "models/device_memory.h"
#include "models/parallel.h"
#include "models/row_plan.h"

namespace strata {

Evaluation::Evaluation(const ExperimentConfig& config, Workbench& workbench,
                       const Benchmark& benchmark, const std::vector<Sample>& samples,
                       const TextTools& text, const Model& model, const AttentionPlan& plan,
                       Generate generate)
    : config_(config),
      workbench_(workbench),
      benchmark_(benchmark),
      samples_(samples),
      text_(text),
      model_(model),
      plan_(plan),
      generate_(generate),
      results_(samples.size()),
      prefixes_(samples.size()) {
  for (const Sample& sample : samples)
    known_prefixes_.push_back(workbench.prefix(sample.id, shared_length(sample)));
}

// No larger than leaves every worker something to do.
std::size_t Evaluation::batch_size(std::size_t workers) const {
  const std::size_t share = (samples_.size() + workers - 1) / workers;
  return std::clamp<std::size_t>(share, 1, static_cast<std::size_t>(config_.batch));
}

// The part of a prompt that all plans of this window, and this one, compute alike.
std::int64_t Evaluation::shared_length(const Sample& sample) const {
  return std::min({config_.mixer.window + config_.mixer.sinks, shared_prefix(plan_),
                   static_cast<std::int64_t>(sample.prompt.size()) - 1});
}

Status Evaluation::run(
    const Progress& progress, const std::vector<bool>& known,
    const std::function<Status(std::size_t, std::span<const Evaluated>)>& finished) {
  MeteredModel metered(model_, run_limits(config_), sample_workers(config_));
  const std::size_t batch = batch_size(static_cast<std::size_t>(metered.workers()));
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (std::size_t first = 0; first < samples_.size(); first += batch) {
    const std::size_t last = std::min(samples_.size(), first + batch);
    for (std::size_t i = first; i < last; ++i)
      if (!known[i]) {
        ranges.emplace_back(first, last);
        break;
      }
  }
  Status status = for_each_sample(
      metered, ranges.size(), progress,
      [&](MeteredModel& model, std::size_t index) -> Status {
        const auto [first, last] = ranges[index];
        return evaluate(model, first, last);
      },
      [&](std::size_t index) -> Status {
        const auto [first, last] = ranges[index];
        return finished(first, std::span(results_).subspan(first, last - first));
      });
  // Only now: the workers read the bench without a lock.
  for (std::size_t i = 0; i < prefixes_.size(); ++i)
    if (prefixes_[i])
      workbench_.keep_prefix(samples_[i].id, *std::move(prefixes_[i]),
                             kv_bytes(AttentionPlan::full(model_.layout()), model_.shape(),
                                      shared_length(samples_[i])));
  return status;
}

Status Evaluation::evaluate(MeteredModel& model, std::size_t first, std::size_t last) {
  std::int64_t limit = 0;
  if (generate_ == Generate::kYes)
    for (std::size_t i = first; i < last; ++i)
      limit = std::max(limit, benchmark_.generation_limit(samples_[i]));
  std::vector<Tokens> answers;
  std::vector<Request> requests;
  for (std::size_t i = first; i < last; ++i) {
    const Sample& sample = samples_[i];
    Request request{sample.prompt, &plan_, limit, known_prefixes_[i]};
    const std::int64_t length = shared_length(sample);
    if (length > 0 && request.prefix == nullptr) {
      ASSIGN_OR_RETURN(SharedPrefix prefix, model.share(sample.prompt, length));
      prefixes_[i] = std::move(prefix);
      request.prefix = &*prefixes_[i];
    }
    answers.push_back(sample.answer);
    requests.push_back(request);
  }
  const PeakMemory peak(model_);
  ASSIGN_OR_RETURN(Session session, model.prefill(requests));
  ASSIGN_OR_RETURN(const std::vector<AnswerScore> scores, session.score(answers));
  for (std::size_t i = first; i < last; ++i) {
    results_[i].answer = scores[i - first];
    results_[i].response = {.text = {},
                            .tokens = {},
                            .answer_nll = scores[i - first].nll,
                            .argmax = scores[i - first].argmax};
    results_[i].prefill_ms = session.prefill_seconds(i - first) * 1e3;
    results_[i].kv_bytes = session.kv_bytes(i - first);
  }
  if (limit > 0) RETURN_IF_ERROR(generate(session, first, last, limit));
  for (std::size_t i = first; i < last; ++i) results_[i].peak_bytes = peak.bytes();
  return {};
}

Status Evaluation::generate(Session& session, std::size_t first, std::size_t last,
                            std::int64_t limit) {
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const std::vector<Tokens> generated,
                   session.generate({.max_new_tokens = limit, .stop = text_.tokenizer.eos()}));
  const double decode_ms =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count() /
      static_cast<double>(last - first);
  for (std::size_t i = first; i < last; ++i) {
    const Tokens& tokens = generated[i - first];
    results_[i].response.text = text_.tokenizer.decode_text(tokens, /*skip_special=*/true);
    results_[i].response.tokens = tokens;
    results_[i].decode_ms = decode_ms;
  }
  return {};
}

}  // namespace strata
