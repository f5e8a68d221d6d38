// Calibration prompts as texts to train on.
#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"
#include "core/sample.h"
#include "core/tokens.h"

namespace strata {

struct TextPieces {
  std::vector<Tokens> training, held_out;
};

// Prompts cut into pieces of `length` tokens, what is left of each dropped; those of the last
// samples, `held_out` of all (0 = none, else at least one sample), are set apart. Errors: no piece
// on a side that should have one.
Result<TextPieces> text_pieces(const CalibrationSet& set, std::int64_t length, double held_out);

}  // namespace strata
