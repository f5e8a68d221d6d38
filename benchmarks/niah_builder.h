// Builds one niah sample: places the needles, cuts the haystack so that the length is exact, writes
// the metadata.
#pragma once

#include "benchmarks/haystack.h"
#include "benchmarks/prompt.h"

namespace strata {

struct NiahSetting {
  const NiahConfig& config;
  const SampleRequest& request;
  const Haystack& haystack;
  const NeedlePool& pool;
};

// The needle that sample `index` asks for, and the stream ("purpose") of its other random choices.
struct NiahQuestion {
  std::int64_t index = 0;
  Needle needle;
  std::string stream;
};

inline constexpr std::int64_t kMaxShortfall = 16;  // exclusive
inline constexpr std::int64_t kGenerationSlack = 8;

// Errors: a length that leaves no room for the question, or none far enough from it.
Result<Sample> build_niah_sample(const NiahSetting& setting, const NiahQuestion& question);

}  // namespace strata
