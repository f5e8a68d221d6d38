// Tensors spread over several safetensors files, and the index in Hugging Face's layout that names
// the files: {"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "models/checkpoint/safetensors.h"

namespace strata {

// Files that the index names, sorted by name; they lie beside it and hold what it says. Errors:
// kNotFound, kIo, kInvalidFile.
Result<std::vector<SafetensorsFile>> open_indexed(const std::filesystem::path& index);

// Of all files of a directory, listed in an index or not, sorted by name; they live as long as the
// files. Errors: a tensor in two files.
Result<std::vector<const TensorView*>> all_tensors(const std::filesystem::path& directory,
                                                   std::span<const SafetensorsFile> files);

// Writes STEM-00001-of-0000N.safetensors, …, then STEM.safetensors.index.json. A file takes tensors
// in the order given until the next would make it larger than max_shard_bytes (of tensors, without
// its header); one that is larger by itself has its own. Names are unique, and there is at least
// one (programmer errors). Each file is there whole or not at all. Errors: kIo.
Status write_indexed(const std::filesystem::path& directory, const std::string& stem,
                     std::span<const TensorView> tensors, std::uint64_t max_shard_bytes);

}  // namespace strata
