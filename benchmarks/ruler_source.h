// Where the questions of a RULER task come from: one source a request, one draft a sample.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "benchmarks/ruler_draft.h"
#include "core/sha256.h"

namespace strata {

class RulerSource {
 public:
  virtual ~RulerSource() = default;
  // Samples there are; RulerDraft::kEndless where the task makes them up.
  virtual std::int64_t size() const { return RulerDraft::kEndless; }
  // Draft `index` is the same whatever else is asked for. The source outlives it.
  virtual Result<std::unique_ptr<RulerDraft>> draft(std::int64_t index) const = 0;
};

struct RulerSetting {
  const RulerConfig& config;
  const SampleRequest& request;
  std::int64_t length = 0;  // config.length, or one that is tried

  bool lm_eval() const { return config.variant == RulerVariant::kLmEval; }
  // Purpose of the random streams of sample `index`.
  std::string stream(std::int64_t index) const;
};

// As the variant has it: lm_eval strips it, and joins it to a bare prompt by `delimiter`.
std::string ruler_answer_prefix(const RulerSetting& setting, std::string prefix,
                                std::string_view delimiter = " ");

// Tokens to generate (RULER's `tokens_to_generate`).
std::int64_t ruler_generation(RulerTask task);
bool is_ruler_niah(RulerTask task);

// Errors: files that are not there or not as they should be.
Result<std::unique_ptr<RulerSource>> make_niah_source(const RulerSetting& setting);
Result<std::unique_ptr<RulerSource>> make_vt_source(const RulerSetting& setting);
Result<std::unique_ptr<RulerSource>> make_cwe_source(const RulerSetting& setting);
Result<std::unique_ptr<RulerSource>> make_fwe_source(const RulerSetting& setting);
Result<std::unique_ptr<RulerSource>> make_qa_source(const RulerSetting& setting);

// The content of the files that the task reads, for data_id().
Status hash_niah_source(const RulerConfig& config, const SampleRequest& request, Sha256& hash);
Status hash_cwe_source(const RulerConfig& config, const SampleRequest& request, Sha256& hash);
Status hash_qa_source(const RulerConfig& config, const SampleRequest& request, Sha256& hash);

}  // namespace strata
