// config::Value to YAML text in OmegaConf's layout (block style, two spaces), which read_yaml reads
// back as an equal value. For --cfg job.
#pragma once

#include <string>

#include "core/config/value.h"

namespace strata::config {

std::string to_yaml(const Value& value);

}  // namespace strata::config
