// Evaluation: one plan on many samples: prefill, teacher-forced answers, generation, in batches
// spread over threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "benchmarks/benchmark.h"
#include "core/plan.h"
#include "core/progress.h"
#include "core/sample.h"
#include "models/model.h"
#include "runner/workbench.h"

namespace strata {

// What is known of one sample afterwards. Times are its share of its batch's; the prefill's
// includes the shared prefix.
struct Evaluated {
  AnswerScore answer;
  Response response;  // its text empty where nothing was generated
  double prefill_ms = 0, decode_ms = 0;
  std::uint64_t kv_bytes = 0;    // allocated
  std::uint64_t peak_bytes = 0;  // ResponseRow::peak_bytes, of its batch
};

enum class Generate { kNo, kYes };  // kYes: as far as the benchmark asks for text

class Evaluation {
 public:
  // Refers to all of these.
  Evaluation(const ExperimentConfig& config, Workbench& workbench, const Benchmark& benchmark,
             const std::vector<Sample>& samples, const TextTools& text, const Model& model,
             const AttentionPlan& plan, Generate generate);

  // finished(first, results) is called on this thread as soon as a batch, samples [first, first +
  // results), is scored. Batches whose samples are all known[sample] are left out; the others are
  // the same whatever is known, so that their numbers are. Once.
  Status run(const Progress& progress, const std::vector<bool>& known,
             const std::function<Status(std::size_t, std::span<const Evaluated>)>& finished);

 private:
  const ExperimentConfig& config_;
  Workbench& workbench_;
  const Benchmark& benchmark_;
  const std::vector<Sample>& samples_;
  const TextTools& text_;
  const Model& model_;
  const AttentionPlan& plan_;
  Generate generate_;
  std::vector<Evaluated> results_;
  std::vector<const SharedPrefix*> known_prefixes_;    // of earlier evaluations; may be null
  std::vector<std::optional<SharedPrefix>> prefixes_;  // computed by this one

  std::size_t batch_size(std::size_t workers) const;
  std::int64_t shared_length(const Sample& sample) const;
  Status evaluate(MeteredModel& model, std::size_t first, std::size_t last);
  Status generate(Session& session, std::size_t first, std::size_t last, std::int64_t limit);
};

}  // namespace strata
