// branches.json: what a directory of trained linear branches says of itself (branch_checkpoint.h).
// No LibTorch, no files; pure functions, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "models/checkpoint/safetensors.h"
#include "models/mixers/linear_branch_config.h"

namespace strata {

inline constexpr const char* kBranchesFile = "branches.json";

struct BranchDescription {
  LinearBranchConfig config;
  std::vector<int> layers;  // rising, at least one
  std::string content;      // SHA-256 of all tensors
};

// What the branches must be of.
struct BranchParent {
  std::string id;
  int layers = 0;
  DType dtype = DType::kF32;  // of branches
};

std::string to_text(const BranchDescription& description, const std::string& parent_id,
                    DType dtype);
// Of text that may come from anywhere. Errors: kInvalidFile; another parent or dtype.
Result<BranchDescription> parse_branch_description(const std::string& text,
                                                   const BranchParent& parent);

// The id of the parent with these branches: of its own, the config and the content.
std::string branches_id(const std::string& parent_id, const BranchDescription& description);

}  // namespace strata
