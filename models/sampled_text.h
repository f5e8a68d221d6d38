// Text that a model writes itself, to train on where there is none of its own. Free of LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"
#include "core/tokens.h"
#include "models/model.h"

namespace strata {

struct SampledText {
  Tokens start;             // what each text begins with, part of it; at least a token
  std::int64_t length = 0;  // tokens of a text, more than the start's
  double temperature = 1;
  std::uint64_t seed = 0;
};

// Texts first … first + count − 1 of an endless list, written side by side under the model's own
// plan; nothing ends one before its length. A text depends on the seed and its number, and on the
// others only by what rounding a batch of another size has. Errors: those of MeteredModel::prefill.
Result<std::vector<Tokens>> sample_texts(MeteredModel& model, const SampledText& how,
                                         std::int64_t first, std::int64_t count);

}  // namespace strata
