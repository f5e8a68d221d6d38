// The state of AdamW optimisers as a safetensors file: weights, both moments and the count of
// steps, which all of them share. A reload has the same bits.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "models/training/adamw.h"

namespace strata {

// An optimiser and what its weights are called, each name once over all optimisers of a file.
struct NamedAdamW {
  AdamW* adam = nullptr;
  std::vector<std::string> names;
};

// The file is there whole or not at all. Errors: kIo.
Status save_adamw(const std::filesystem::path& file, std::span<const NamedAdamW> optimizers);
// Into the weights' own memory. Errors: kInvalidFile where it has not each tensor in its shape and
// dtype; then weights are unspecified.
Status restore_adamw(const std::filesystem::path& file, std::span<const NamedAdamW> optimizers);

}  // namespace strata
