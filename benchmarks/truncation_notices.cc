#include "benchmarks/truncation_notices.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace strata {

void TruncationNotices::add(const nlohmann::json& metadata) {
  ++samples_;
  const auto found = metadata.find("truncation");
  if (found == metadata.end() || !found->is_object()) return;
  policy_ = found->value("policy", policy_);
  if (found->value("sessions_left_out", 0) > 0) ++shortened_;
  if (found->value("evidence_sessions_left_out", 0) > 0) ++without_evidence_;
  for (const char* field : {"dropped_before", "dropped_after"})
    if (const auto ids = found->find(field); ids != found->end()) dropped_ += ids->size();
}

std::vector<std::string> TruncationNotices::lines() const {
  std::vector<std::string> out;
  if (dropped_ > 0)
    out.push_back(
        fmt::format("{} questions that do not fit were dropped (benchmark.truncation={}); {} are "
                    "asked",
                    dropped_, policy_, samples_));
  if (shortened_ > 0)
    out.push_back(
        fmt::format("{} of {} samples lost sessions to fit (benchmark.truncation={}), {} of them "
                    "evidence",
                    shortened_, samples_, policy_, without_evidence_));
  return out;
}

}  // namespace strata
