// How long a mixer takes for one layer's prefill, by itself: from q, k and v to what heads read.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mixer_spec.h"
#include "models/model.h"

namespace strata {

// Seconds of each repeat behind one that warms up, over random rows [1, heads, rows, D] in the
// model's type on its device; linear kinds have k and v for every query head. On the calling
// thread, which waits for a GPU. rows, repeats ≥ 1.
std::vector<double> mixer_seconds(const Model& model, const MixerSpec& mixer, std::int64_t rows,
                                  int repeats);

}  // namespace strata
