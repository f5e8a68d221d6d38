// Writes a model directory that transformers and strata load: another model's configuration and
// tokenizer with weights of its own, and strata.json, which says where they come from:
// {"format": "strata-model-1", "parents": [ModelId], "transform": {…}}.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "models/checkpoint/checkpoint.h"

namespace strata {

inline constexpr const char* kOriginFile = "strata.json";
inline constexpr const char* kOriginFormat = "strata-model-1";

// `weights` are all tensors of the parent's architecture. Returns the new ModelId. The directory is
// there whole or not at all. Errors: something lies at `directory` already; kIo; what
// Checkpoint::open and validate_tensors say of the result.
Result<std::string> save_model(const Checkpoint& parent, std::span<const TensorView> weights,
                               const nlohmann::json& transform,
                               const std::filesystem::path& directory);

// The same into a folder that exists, which another step may add to; `origin`: what strata.json
// holds besides format and parents.
Result<std::string> write_model(const std::filesystem::path& directory, const Checkpoint& parent,
                                std::span<const TensorView> weights, nlohmann::json origin);

// Runs `write` on a folder beside `directory`, which takes its place where that is well: what is
// written is there whole or not at all. Errors: something lies there already; write's; kIo, "cannot
// write the " `what`.
Status in_new_folder(const std::filesystem::path& directory, std::string_view what,
                     const std::function<Status(const std::filesystem::path&)>& write);

// The first of those errors, to be had before a training begins.
Status check_free_for_model(const std::filesystem::path& directory);

}  // namespace strata
