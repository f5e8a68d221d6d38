// Writes safetensors files: the bytes that the reference implementation writes, aligned for every
// dtype.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "core/result.h"
#include "models/checkpoint/safetensors.h"

namespace strata {

// The file is there whole or not at all (core/atomic_file.h). Names are unique; bytes are as many
// as dtype and shape say (programmer errors). Errors: kIo.
Status write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace strata
