#include "models/convert/branch_checkpoint.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "core/atomic_file.h"
#include "core/config/binder.h"
#include "models/checkpoint/json_fields.h"
#include "models/checkpoint/model_id.h"
#include "models/checkpoint/safetensors_index.h"
#include "models/convert/branch_description.h"
#include "models/convert/save_model.h"
#include "models/convert/tensor_bytes.h"
#include "models/decoder/decoder.h"
#include "models/forward.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStem = "branches";
constexpr std::uint64_t kMaxDescriptionBytes = std::uint64_t{1} << 20;

DType branch_dtype(const Model& parent) {
  return parent.decoder().options().dtype() == at::kDouble ? DType::kF64 : DType::kF32;
}

Result<BranchDescription> read_description(const fs::path& directory, const Model& parent) {
  const fs::path file = directory / kBranchesFile;
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(file, kMaxDescriptionBytes));
  Result<BranchDescription> parsed =
      parse_branch_description(text, {parent.id(), parent.layout().layers, branch_dtype(parent)});
  if (!parsed) return fail(std::move(parsed).error().at(file.string()));
  return parsed;
}

}  // namespace

Result<std::string> write_branches(const fs::path& directory, const std::string& parent_id,
                                   const Architecture& architecture,
                                   std::span<LayerBranch> branches, std::uint64_t max_shard_bytes) {
  STRATA_CHECK(!branches.empty());
  WrittenTensors written;
  std::vector<int> layers;
  for (LayerBranch& branch : branches) {
    STRATA_CHECK(layers.empty() || branch.layer() > layers.back());
    layers.push_back(branch.layer());
    for (const BranchPart& part : branch.parts()) written.add(part.name, *part.tensor);
  }
  std::map<std::string_view, const TensorView*> by_name;
  for (const TensorView& view : written.views) by_name[view.name] = &view;
  std::vector<const TensorView*> sorted;
  sorted.reserve(by_name.size());
  for (const auto& [name, view] : by_name) sorted.push_back(view);
  const BranchDescription description{.config = branches[0].config(),
                                      .layers = std::move(layers),
                                      .content = compute_model_id(architecture, sorted)};
  const nlohmann::json config = config::to_json(description.config);
  for (const LayerBranch& branch : branches)
    STRATA_CHECK(nlohmann::json(config::to_json(branch.config())) == config);
  RETURN_IF_ERROR(write_indexed(directory, kStem, written.views, max_shard_bytes));
  const std::string text = to_text(description, parent_id, written.views[0].dtype);
  RETURN_IF_ERROR(write_atomically(directory / kBranchesFile, text));
  return branches_id(parent_id, description);
}

Status save_branches(const Model& parent, std::span<LayerBranch> branches,
                     const fs::path& directory, std::uint64_t max_shard_bytes,
                     const nlohmann::json& transform) {
  return in_new_folder(directory, "branches", [&](const fs::path& partial) -> Status {
    RETURN_IF_ERROR(write_branches(partial, parent.id(), parent.decoder().architecture(), branches,
                                   max_shard_bytes));
    if (transform.is_null()) return {};
    const nlohmann::json origin = {
        {"format", "strata-branches-1"}, {"parents", {parent.id()}}, {"transform", transform}};
    return write_atomically(partial / "strata.json", origin.dump(2) + "\n");
  });
}

Result<std::vector<LayerBranch>> load_branches(const Model& parent, const fs::path& directory) {
  ASSIGN_OR_RETURN(const BranchDescription description, read_description(directory, parent));
  const fs::path index = directory / (std::string(kStem) + ".safetensors.index.json");
  ASSIGN_OR_RETURN(const std::vector<SafetensorsFile> files, open_indexed(index));
  ASSIGN_OR_RETURN(const std::vector<const TensorView*> tensors, all_tensors(directory, files));
  std::map<std::string_view, const TensorView*> unread;
  for (const TensorView* tensor : tensors) unread[tensor->name] = tensor;
  return translated([&]() -> Result<std::vector<LayerBranch>> {
    std::vector<LayerBranch> branches;
    const Decoder& decoder = parent.decoder();
    for (const int layer : description.layers) {
      branches.push_back(LayerBranch::initial(decoder.architecture(), decoder.weights(), layer,
                                              description.config));
      for (const BranchPart& part : branches.back().parts()) {
        const auto place = unread.find(part.name);
        RETURN_IF_ERROR(read_tensor(place == unread.end() ? nullptr : place->second, part.name,
                                    *part.tensor, directory));
        unread.erase(place);
      }
    }
    if (!unread.empty())
      return fail(make_error(ErrorKind::kInvalidFile,
                             "expected the weights of the branches alone, got tensor '{}'",
                             unread.begin()->first)
                      .at(directory.string()));
    if (const std::string content = compute_model_id(decoder.architecture(), tensors);
        content != description.content)
      return fail(make_error(ErrorKind::kInvalidFile,
                             "expected tensors of content {}, as {} says, got {}",
                             description.content, kBranchesFile, content)
                      .at(directory.string())
                      .with_hint("the weights are not those that were written"));
    return branches;
  });
}

Result<std::string> branches_id(const Model& parent, const fs::path& directory) {
  ASSIGN_OR_RETURN(const BranchDescription description, read_description(directory, parent));
  return branches_id(parent.id(), description);
}

}  // namespace strata
