// What products of float32 on a GPU may do to their factors. Free of LibTorch.
#pragma once

namespace strata {

// Whether they may round them to TF32 (10 bits of mantissa), for the whole process. Loading a model
// says no.
void allow_tf32(bool allowed);

}  // namespace strata
