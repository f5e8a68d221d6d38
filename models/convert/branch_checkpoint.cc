#include "models/convert/branch_checkpoint.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "core/atomic_file.h"
#include "core/config/binder.h"
#include "core/sha256.h"
#include "models/checkpoint/json_fields.h"
#include "models/checkpoint/model_id.h"
#include "models/checkpoint/safetensors_index.h"
#include "models/convert/save_model.h"
#include "models/convert/tensor_bytes.h"
#include "models/decoder/decoder.h"
#include "models/forward.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "strata-branches-1";
constexpr const char* kStem = "branches";
constexpr const char* kConfigFile = "branches.json";
constexpr std::uint64_t kMaxConfigBytes = std::uint64_t{1} << 20;

// The scalars of a flat object; what is no scalar becomes null, which bind() refuses.
config::Value value_of(const nlohmann::json& object) {
  config::Map map;
  for (const auto& [key, item] : object.items()) {
    config::Value value;
    if (item.is_boolean()) value = config::Value(item.get<bool>());
    if (item.is_string()) value = config::Value(item.get<std::string>());
    if (item.is_number_float()) value = config::Value(item.get<double>());
    if (item.is_number_unsigned() && item.get<std::uint64_t>() > INT64_MAX)
      value = config::Value(item.dump());
    else if (item.is_number_integer())
      value = config::Value(item.get<std::int64_t>());
    map.set(key, std::move(value));
  }
  return config::Value(std::move(map));
}

struct Description {
  LinearBranchConfig config;
  std::vector<int> layers;
  std::string content;
};

Result<Description> parse_description(const std::string& text, const Model& parent) {
  ASSIGN_OR_RETURN(const nlohmann::json json, json_fields::parse_object(text));
  const json_fields::Fields fields(json);
  const auto expect = [&](const char* name, std::string_view expected) -> Status {
    ASSIGN_OR_RETURN(const std::string got, fields.string_or(name, ""));
    if (got != expected) return fields.error(name, expected);
    return {};
  };
  RETURN_IF_ERROR(expect("format", kFormat));
  RETURN_IF_ERROR(expect("parent", parent.id()));
  RETURN_IF_ERROR(
      expect("dtype", parent.decoder().options().dtype() == at::kDouble ? "F64" : "F32"));
  Description out;
  ASSIGN_OR_RETURN(out.content, fields.string_or("content", ""));
  if (!fields.has("layers") || !fields.at("layers").is_array() || fields.at("layers").empty())
    return fields.error("layers", "a list of layers");
  for (const nlohmann::json& item : fields.at("layers")) {
    const std::int64_t least = out.layers.empty() ? 0 : out.layers.back() + 1;
    const int layers = parent.layout().layers;
    const bool fits = item.is_number_integer() && item >= least && item < layers;
    if (!fits)
      return fail(ErrorKind::kInvalidFile,
                  "field 'layers': expected rising layers below {}, got {} behind {} others",
                  layers, json_fields::describe(item), out.layers.size());
    out.layers.push_back(item.get<int>());
  }
  if (!fields.has("config") || !fields.at("config").is_object())
    return fields.error("config", "an object");
  const nlohmann::json& given = fields.at("config");
  RETURN_IF_ERROR(config::bind(value_of(given), out.config, {.path = "config", .also_known = {}}));
  const nlohmann::json all = config::to_json(out.config);
  for (const auto& [key, unused] : all.items())
    if (!given.contains(key))
      return fail(ErrorKind::kInvalidFile, "field 'config.{}': expected a value, got none", key);
  return out;
}

Result<Description> read_description(const fs::path& directory, const Model& parent) {
  const fs::path file = directory / kConfigFile;
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(file, kMaxConfigBytes));
  Result<Description> parsed = parse_description(text, parent);
  if (!parsed) return fail(std::move(parsed).error().at(file.string()));
  return parsed;
}

std::string content_of(const Model& parent, std::span<const TensorView* const> tensors) {
  return compute_model_id(parent.decoder().architecture(), tensors);
}

Status write_into(const fs::path& directory, const Model& parent, std::span<LayerBranch> branches,
                  std::uint64_t max_shard_bytes) {
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
  const nlohmann::json config = config::to_json(branches[0].config());
  for (const LayerBranch& branch : branches)
    STRATA_CHECK(nlohmann::json(config::to_json(branch.config())) == config);
  const nlohmann::json description = {
      {"format", kFormat}, {"parent", parent.id()}, {"dtype", to_string(written.views[0].dtype)},
      {"layers", layers},  {"config", config},      {"content", content_of(parent, sorted)}};
  RETURN_IF_ERROR(write_indexed(directory, kStem, written.views, max_shard_bytes));
  return write_atomically(directory / kConfigFile, description.dump(2) + "\n");
}

}  // namespace

Status save_branches(const Model& parent, std::span<LayerBranch> branches,
                     const fs::path& directory, std::uint64_t max_shard_bytes) {
  STRATA_CHECK(!branches.empty());
  return in_new_folder(directory, "branches", [&](const fs::path& partial) {
    return write_into(partial, parent, branches, max_shard_bytes);
  });
}

Result<std::vector<LayerBranch>> load_branches(const Model& parent, const fs::path& directory) {
  ASSIGN_OR_RETURN(const Description description, read_description(directory, parent));
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
    if (const std::string content = content_of(parent, tensors); content != description.content)
      return fail(make_error(ErrorKind::kInvalidFile,
                             "expected tensors of content {}, as {} says, got {}",
                             description.content, kConfigFile, content)
                      .at(directory.string())
                      .with_hint("the weights are not those that were written"));
    return branches;
  });
}

Result<std::string> branches_id(const Model& parent, const fs::path& directory) {
  ASSIGN_OR_RETURN(const Description description, read_description(directory, parent));
  const nlohmann::json covered = {{"format", "strata-model-with-branches-1"},
                                  {"parent", parent.id()},
                                  {"config", config::to_json(description.config)},
                                  {"content", description.content}};
  return sha256_hex(covered.dump());
}

}  // namespace strata
