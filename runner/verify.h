// `strata verify`: stored answers of a plan computed again, and how far the numbers have drifted.
//
// Reads a database and writes none. What is rerun is what was recorded: the same weights, plan and
// prompts by content id. Where and with what it is computed (device, dtype, threads, build) may
// differ; that is what it is for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/progress.h"
#include "core/result.h"
#include "results/store.h"
#include "runner/experiment_config.h"
#include "runner/workbench.h"

namespace strata {

struct VerifyRequest {
  std::size_t samples = 20;
  std::uint64_t seed = 0;  // of which samples are drawn
};

struct SampleDrift {
  std::string id;
  double was = 0, is = 0;  // mean NLL of the answer, in nats a token
  double largest = 0;      // |difference| at one answer position; infinite where the stored answer
                           // has other positions or no number
  std::size_t changed_argmax = 0, positions = 0;
  bool changed_text = false;  // generated, as far as both were allowed to generate
  bool changed() const { return changed_argmax > 0 || changed_text; }
};

struct Verification {
  RunRow run;                                  // the latest that has the answers
  ExperimentRow was, is;                       // was: the answers' own
  std::vector<ExecutionRow> recorded;          // that computed the drawn answers
  ExecutionRow now;                            // its run_id is the recorded run's
  std::size_t stored = 0;                      // answers that could be drawn
  std::vector<SampleDrift> samples;            // in the data set's order
  double largest() const;                      // over samples
  double mean() const;                         // of |is − was|
  std::size_t beyond(double tolerance) const;  // samples whose largest is
  std::size_t changed() const;                 // samples
};

// plan.json, or selection.json with its plan inside.
Result<AttentionPlan> read_plan_file(const std::string& path);

// The job of the latest finished run of the plan, with the keys of `given` that say where
// and how it is computed (device, dtype, threads, batch, data, model.path, model.branches) wherever
// an override names them. None where an override says more: then `given` itself is the job.
Result<std::optional<ExperimentConfig>> recorded_config(const Store& store,
                                                        const AttentionPlan& plan, const Job& given,
                                                        const std::vector<std::string>& overrides);

// Errors: no answer of this model under this plan is stored, or none to a sample that the
// configuration draws; the model's.
Result<Verification> verify(const ExperimentConfig& config, const AttentionPlan& plan,
                            const VerifyRequest& request, Workbench& workbench, const Store& store,
                            const std::string& build, Progress& progress);

}  // namespace strata
