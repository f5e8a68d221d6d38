#include "models/checkpoint/safetensors_index.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>

#include "core/atomic_file.h"
#include "models/checkpoint/json_fields.h"
#include "models/checkpoint/safetensors_writer.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

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

Result<std::vector<SafetensorsFile>> open_indexed(const fs::path& path) {
  ASSIGN_OR_RETURN(const WeightMap index, read_index(path));
  std::set<std::string> names;
  for (const auto& [tensor, name] : index) names.insert(name);
  ASSIGN_OR_RETURN(std::vector<SafetensorsFile> files, open_all(path.parent_path(), names));
  RETURN_IF_ERROR(check_index(path, index, files));
  return files;
}

Result<std::vector<const TensorView*>> all_tensors(const fs::path& directory,
                                                   std::span<const SafetensorsFile> files) {
  std::vector<const TensorView*> tensors;
  std::map<std::string_view, const SafetensorsFile*> owner;
  for (const SafetensorsFile& file : files)
    for (const TensorView& tensor : file.tensors()) {
      const auto [place, is_new] = owner.emplace(tensor.name, &file);
      if (!is_new)
        return fail(make_error(ErrorKind::kInvalidFile,
                               "tensor '{}': expected it in one file, got it in {} and {}",
                               tensor.name, place->second->path().filename().string(),
                               file.path().filename().string())
                        .at(directory.string()));
      tensors.push_back(&tensor);
    }
  std::sort(tensors.begin(), tensors.end(),
            [](const TensorView* a, const TensorView* b) { return a->name < b->name; });
  return tensors;
}

Status write_indexed(const fs::path& directory, const std::string& stem,
                     std::span<const TensorView> tensors, std::uint64_t max_shard_bytes) {
  STRATA_CHECK(!tensors.empty());
  std::vector<std::span<const TensorView>> shards;
  std::uint64_t total = 0;
  for (std::size_t begin = 0, end = 0; begin < tensors.size(); begin = end) {
    for (std::uint64_t bytes = 0; end < tensors.size(); ++end) {
      bytes += tensors[end].bytes.size();
      if (end > begin && bytes > max_shard_bytes) break;
      total += tensors[end].bytes.size();
    }
    shards.push_back(tensors.subspan(begin, end - begin));
  }
  nlohmann::json weight_map = nlohmann::json::object();
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        fmt::format("{}-{:05}-of-{:05}.safetensors", stem, i + 1, shards.size());
    for (const TensorView& tensor : shards[i]) {
      STRATA_CHECK(!weight_map.contains(tensor.name), "{} twice", tensor.name);
      weight_map[tensor.name] = name;
    }
    RETURN_IF_ERROR(write_safetensors(directory / name, shards[i], {{"format", "pt"}}));
  }
  const nlohmann::json index = {{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}};
  return write_atomically(directory / (stem + ".safetensors.index.json"), index.dump(2) + "\n");
}

}  // namespace strata
