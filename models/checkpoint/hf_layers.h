// What a config.json says of single layers: their sliding windows and how they tell positions
// apart. Internal to models/checkpoint.
#pragma once

#include "core/result.h"
#include "models/checkpoint/hf_config.h"
#include "models/checkpoint/json_fields.h"

namespace strata::hf_layers {

// Sets windows, ropes, rope_theta, rope_scaling and local_rope_theta. Needs family, layers and
// max_positions. What `transformers` would ignore (a Llama's layer_types) is an error, as is a
// window that nobody gave.
Status read_layers(const json_fields::Fields& fields, Architecture& a);

}  // namespace strata::hf_layers
