// Trained linear branches as a directory:
//   branches.json                        {"format": "strata-branches-1", "parent": ModelId,
//                                         "dtype": "F32", "layers": [0, 2, …], "config": {…},
//                                         "content": SHA-256 of all tensors}
//   branches-00001-of-0000N.safetensors  the weights (LayerBranch::parts names them), and an index
//   branches.safetensors.index.json      in Hugging Face's layout
// Reload gives the same bits. The parent's own weights are not in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "models/mixers/linear_branch.h"
#include "models/model.h"

namespace strata {

inline constexpr std::uint64_t kMaxShardBytes = std::uint64_t{5} << 30;

// Branches of one config and dtype, by rising layer, at least one (programmer errors). The
// directory is there whole or not at all. `transform`, where it is not null, goes with the parent's
// id into its strata.json, as in save_model.h. Errors: something lies at `directory` already; kIo.
Status save_branches(const Model& parent, std::span<LayerBranch> branches,
                     const std::filesystem::path& directory,
                     std::uint64_t max_shard_bytes = kMaxShardBytes,
                     const nlohmann::json& transform = nullptr);

// The same into a folder that exists, as branches of the model `parent_id`. Returns their
// branches_id.
Result<std::string> write_branches(const std::filesystem::path& directory,
                                   const std::string& parent_id, const Architecture& architecture,
                                   std::span<LayerBranch> branches,
                                   std::uint64_t max_shard_bytes = kMaxShardBytes);

// On the parent's device. Errors, of files that may come from anywhere: kNotFound, kIo,
// kInvalidFile; another parent; a tensor that is missing, of another shape or dtype, or besides;
// bytes other than those that were written.
Result<std::vector<LayerBranch>> load_branches(const Model& parent,
                                               const std::filesystem::path& directory);

// The id of the parent with the branches of a directory that load_branches takes: of the parent's
// id, the config and the tensors' content. 64 hexadecimal digits. Errors: those of its description.
Result<std::string> branches_id(const Model& parent, const std::filesystem::path& directory);

}  // namespace strata
