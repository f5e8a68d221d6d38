// What a person must hear about prompts that were made to fit: how many, and what they lost.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace strata {

class TruncationNotices {
 public:
  // Of each sample; those without "truncation" say nothing.
  void add(const nlohmann::json& metadata);
  // Empty where nothing was left out.
  std::vector<std::string> lines() const;

 private:
  std::string policy_;
  std::size_t samples_ = 0, shortened_ = 0, without_evidence_ = 0, dropped_ = 0;
};

}  // namespace strata
