// A trained student (hybrid_training.h) as a directory of its own.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/plan.h"
#include "core/result.h"
#include "models/model.h"

namespace strata {

// What the optimiser wrote to, as checkpoints store and name it: a student in half precision is
// rounded from it.
struct StudentMasters {
  std::vector<std::string> names;
  std::vector<at::Tensor> tensors;
};

// A saved hybrid (models/convert/hybrid_checkpoint.h) of the plan, the student's branches that the
// plan needs, and the masters' weights; the parent's own, byte for byte, where masters is null. The
// parent was loaded from a directory. Returns the new model's id. Errors: those of save_hybrid.
Result<std::string> save_student(const Model& parent, const Model& student,
                                 const StudentMasters* masters, const AttentionPlan& plan,
                                 const nlohmann::json& transform,
                                 const std::filesystem::path& directory,
                                 std::uint64_t max_shard_bytes);

}  // namespace strata
