#include "models/checkpoint/checkpoint.h"

#include <algorithm>
#include <utility>

#include "models/checkpoint/model_id.h"
#include "models/checkpoint/safetensors_index.h"
#include "models/checkpoint/tensor_list.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kIndexFile = "model.safetensors.index.json";

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
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::open(directory_ / kSingleFile));
    files_.push_back(std::move(file));
  } else {
    ASSIGN_OR_RETURN(files_, open_indexed(index_path));
  }
  ASSIGN_OR_RETURN(tensors_, all_tensors(directory_, files_));
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
