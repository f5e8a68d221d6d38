#include "models/checkpoint/checkpoint.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "models/checkpoint/json_fields.h"
#include "models/checkpoint/model_id.h"
#include "models/checkpoint/tensor_list.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndexBytes = 100'000'000;

using WeightMap = std::map<std::string, std::string>;  // tensor → file name

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
         name.find('\\') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

Result<WeightMap> parse_index(std::string_view text) {
  ASSIGN_OR_RETURN(const nlohmann::json json, json_fields::parse_object(text));
  const json_fields::Fields fields(json);
  if (!fields.has("weight_map") || !fields.at("weight_map").is_object() ||
      fields.at("weight_map").empty())
    return fields.error("weight_map", "an object of tensor names and file names");
  WeightMap out;
  for (const auto& [tensor, file] : fields.at("weight_map").items()) {
    if (!file.is_string() || !is_plain_file_name(file.get_ref<const std::string&>()))
      return fail(ErrorKind::kInvalidFile,
                  "field 'weight_map': '{}': expected the name of a file beside the index, got {}",
                  tensor, json_fields::describe(file));
    out.emplace(tensor, file.get<std::string>());
  }
  return out;
}

Result<WeightMap> read_index(const fs::path& path) {
  ASSIGN_OR_RETURN(const std::string text, json_fields::read_text(path, kMaxIndexBytes));
  auto index = parse_index(text);
  if (!index) return fail(std::move(index).error().at(path.string()));
  return index;
}

Result<std::vector<SafetensorsFile>> open_all(const fs::path& directory,
                                              const std::set<std::string>& names) {
  std::vector<SafetensorsFile> files;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(directory / name));
    files.push_back(std::move(file));
  }
  return files;
}

Status check_index(const fs::path& index_path, const WeightMap& index,
                   std::span<const SafetensorsFile> files) {
  std::map<std::string, const SafetensorsFile*> by_name;
  for (const SafetensorsFile& file : files) by_name[file.path().filename().string()] = &file;
  for (const auto& [tensor, name] : index)
    if (by_name.at(name)->find(tensor) == nullptr)
      return fail(make_error(ErrorKind::kInvalidFile,
                             "field 'weight_map': expected tensor '{}' in {}, which has none",
                             tensor, name)
                      .at(index_path.string()));
  return {};
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const fs::path& directory, const OpenOptions& options) try {
  std::error_code code;
  if (!fs::is_directory(directory, code))
    return fail(make_error(ErrorKind::kNotFound, "expected a model directory, got {}",
                           fs::exists(directory, code) ? "something else" : "nothing there")
                    .at(directory.string())
                    .with_hint("it holds config.json, model.safetensors and tokenizer.json"));
  Checkpoint checkpoint;
  checkpoint.directory_ = directory;
  ASSIGN_OR_RETURN(checkpoint.architecture_, load_architecture(directory / "config.json"));
  RETURN_IF_ERROR(checkpoint.open_files());
  checkpoint.identify(options);
  return checkpoint;
} catch (const std::exception& exception) {
  return fail(
      make_error(ErrorKind::kInternal, "opening: {}", exception.what()).at(directory.string()));
}

Status Checkpoint::open_files() {
  std::error_code code;
  const fs::path index_path = directory_ / kIndexFile;
  const bool is_single = fs::exists(directory_ / kSingleFile, code);
  if (is_single || !fs::exists(index_path, code)) {
    if (!is_single)
      return fail(make_error(ErrorKind::kNotFound, "expected {} or {}, got neither", kSingleFile,
                             kIndexFile)
                      .at(directory_.string())
                      .with_hint("weights in other formats are not read"));
    ASSIGN_OR_RETURN(files_, open_all(directory_, {std::string(kSingleFile)}));
  } else {
    ASSIGN_OR_RETURN(const WeightMap index, read_index(index_path));
    std::set<std::string> names;
    for (const auto& [tensor, name] : index) names.insert(name);
    ASSIGN_OR_RETURN(files_, open_all(directory_, names));
    RETURN_IF_ERROR(check_index(index_path, index, files_));
  }
  std::map<std::string_view, const SafetensorsFile*> owner;
  for (const SafetensorsFile& file : files_)
    for (const TensorView& tensor : file.tensors()) {
      const auto [place, is_new] = owner.emplace(tensor.name, &file);
      if (!is_new)
        return fail(make_error(ErrorKind::kInvalidFile,
                               "tensor '{}': expected it in one file, got it in {} and {}",
                               tensor.name, place->second->path().filename().string(),
                               file.path().filename().string())
                        .at(directory_.string()));
      tensors_.push_back(&tensor);
    }
  std::sort(tensors_.begin(), tensors_.end(),
            [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  return {};
}

void Checkpoint::identify(const OpenOptions& options) {
  std::vector<const TensorView*> read;
  for (const TensorView* tensor : tensors_)
    if (!is_passed_over(architecture_, tensor->name)) read.push_back(tensor);
  if (!options.cache_model_id) {
    model_id_ = compute_model_id(architecture_, read);
    return;
  }
  const ModelIdCache cache(options.cache_directory, directory_, architecture_, files_);
  if (auto id = cache.find()) {
    model_id_ = *std::move(id);
    model_id_was_cached_ = true;
    return;
  }
  model_id_ = compute_model_id(architecture_, read);
  cache.store(model_id_);
}

std::uint64_t Checkpoint::parameter_bytes() const {
  std::uint64_t bytes = 0;
  for (const TensorView* tensor : tensors_) bytes += tensor->bytes.size();
  return bytes;
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto place = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const TensorView* tensor, std::string_view n) { return tensor->name < n; });
  return place != tensors_.end() && (*place)->name == name ? *place : nullptr;
}

const TensorView& Checkpoint::tensor(std::string_view name) const {
  const TensorView* tensor = find(name);
  STRATA_CHECK(tensor != nullptr, "there is no tensor '{}'", name);
  return *tensor;
}

Result<const TensorView*> Checkpoint::require(std::string_view name,
                                              std::span<const std::int64_t> expected_shape) const {
  const TensorView* tensor = find(name);
  if (tensor == nullptr)
    return fail(make_error(ErrorKind::kInvalidFile,
                           "tensor '{}': expected shape {}, got no such tensor", name,
                           shape_text(expected_shape))
                    .at(directory_.string()));
  if (!std::equal(tensor->shape.begin(), tensor->shape.end(), expected_shape.begin(),
                  expected_shape.end()))
    return fail(make_error(ErrorKind::kInvalidFile, "tensor '{}': expected shape {}, got {}", name,
                           shape_text(expected_shape), shape_text(tensor->shape))
                    .at(directory_.string()));
  return tensor;
}

}  // namespace strata
