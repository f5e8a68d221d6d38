#include "models/precision.h"

#include <ATen/Context.h>

namespace strata {

void allow_tf32(bool allowed) { at::globalContext().setAllowTF32CuBLAS(allowed); }

}  // namespace strata
