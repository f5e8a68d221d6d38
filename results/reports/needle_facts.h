// What a stored sample of benchmark=niah_grid says of the needle that it asks for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "results/rows.h"

namespace strata {

struct NeedleFacts {
  std::int64_t length = 0;       // of the cell, tokens
  double depth = 0;              // of the cell, percent
  std::string question, answer;  // "" where it says none: of databases older than this field
};

// From the metadata `cell` and `question`, and the first accepted answer; metadata may have been
// edited by hand. None where it names no cell.
std::optional<NeedleFacts> needle_facts(const SampleRow& sample);

}  // namespace strata
