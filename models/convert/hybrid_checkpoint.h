// A hybrid as a directory: a model directory (save_model.h) that is under a plan of its own, with
// linear branches where the plan needs them:
//   plan.json                        the plan
//   branches.json, branches-*.…      branches of the directory's own weights (branch_checkpoint.h)
//   strata.json                      besides parents and transform
//                                    {"hybrid": {"plan": PlanId, "branches": true|false}}
// Without that key in strata.json, a plan.json or branches that lie there mean nothing. Model::load
// makes plan and branches part of the model, of its native_plan() and of its id; transformers sees
// the backbone alone. Reload gives the same bits.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "core/plan.h"
#include "models/checkpoint/checkpoint.h"
#include "models/convert/branch_checkpoint.h"

namespace strata {

// `weights` are all tensors of the parent's architecture (for a backbone left as it was, the
// parent's own); `branches` by rising layer, none where the plan has no linear cell. Returns the
// new model's id. The directory is there whole or not at all. Errors: those of save_model.
Result<std::string> save_hybrid(const Checkpoint& parent, std::span<const TensorView> weights,
                                std::span<LayerBranch> branches, const AttentionPlan& plan,
                                const nlohmann::json& transform,
                                const std::filesystem::path& directory,
                                std::uint64_t max_shard_bytes = kMaxShardBytes);

struct HybridDescription {
  AttentionPlan plan;
  bool has_branches = false;
};

// What a directory says that it is; nothing where it is no hybrid. Errors, of files that may come
// from anywhere: kNotFound, kIo, kInvalidFile; a plan of another layout or id.
Result<std::optional<HybridDescription>> read_hybrid(const std::filesystem::path& directory,
                                                     const HeadLayout& layout);

// The id of a model under a plan of its own; `model`: of its weights, and branches where it has
// any.
std::string hybrid_id(const std::string& model, const AttentionPlan& plan);

}  // namespace strata
