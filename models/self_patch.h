// Patching clean by clean: every site of every layer is read in one run and written back in
// another. What that changes is an error of the hooks (models/decoder/hooks.h): it must be nothing.
#pragma once

#include <span>

#include "core/result.h"
#include "core/tokens.h"
#include "models/model.h"

namespace strata {

// The largest change of a layer's output under full attention, over layers and rows, where the
// layer's input, q, k, v, head outputs, mixer and MLP outputs are each replaced by themselves.
// Metered: two forward runs without the LM head. Errors: as MeteredModel::check.
Result<double> self_patch_change(MeteredModel& model, std::span<const TokenId> tokens);

}  // namespace strata
