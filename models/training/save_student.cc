#include "models/training/save_student.h"

#include <nlohmann/json.hpp>

#include "models/checkpoint/checkpoint.h"
#include "models/convert/hybrid_checkpoint.h"
#include "models/convert/tensor_bytes.h"
#include "models/decoder/decoder.h"
#include "models/decoder/linear_heads.h"

namespace strata {

Result<std::string> save_student(const Model& parent, const Model& student,
                                 const StudentMasters* masters, const AttentionPlan& plan,
                                 const nlohmann::json& transform,
                                 const std::filesystem::path& directory,
                                 std::uint64_t max_shard_bytes) {
  STRATA_CHECK(parent.checkpoint() != nullptr, "the parent was not loaded from a directory");
  std::vector<LayerBranch> branches;
  for (const LayerBranch& branch : student.decoder().branches())
    if (!linear_heads_of(plan, branch.layer()).empty()) branches.push_back(branch);
  WrittenTensors written;
  if (masters != nullptr)
    for (std::size_t i = 0; i < masters->tensors.size(); ++i)
      written.add(masters->names[i], masters->tensors[i]);
  else
    for (const TensorView* tensor : parent.checkpoint()->tensors())
      written.views.push_back(*tensor);
  return save_hybrid(*parent.checkpoint(), written.views, branches, plan, transform, directory,
                     max_shard_bytes);
}

}  // namespace strata
