// Builds one niah sample: chooses where the needles stand (haystack_prompt.h makes the length
// exact) and writes the metadata.
#pragma once

#include "benchmarks/haystack.h"

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

// Errors: a length that leaves no room for the question, or none far enough from it.
Result<Sample> build_niah_sample(const NiahSetting& setting, const NiahQuestion& question);

}  // namespace strata
