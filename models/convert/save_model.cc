#include "models/convert/save_model.h"

#include <nlohmann/json.hpp>

#include "core/atomic_file.h"
#include "models/checkpoint/json_fields.h"
#include "models/checkpoint/safetensors_writer.h"

namespace strata {
namespace {

namespace fs = std::filesystem;

// What a directory holds beside config.json and weights, where it holds it.
constexpr const char* kCopied[] = {"tokenizer.json",      "tokenizer_config.json",
                                   "vocab.json",          "merges.txt",
                                   "added_tokens.json",   "special_tokens_map.json",
                                   "chat_template.jinja", "generation_config.json"};

// The parent's, but for the dtype that readers are told to load weights in.
Result<std::string> config_of(const Checkpoint& parent, DType dtype) {
  constexpr std::uint64_t kLargest = std::uint64_t{16} << 20;
  ASSIGN_OR_RETURN(const std::string text,
                   json_fields::read_text(parent.directory() / "config.json", kLargest));
  auto config = nlohmann::ordered_json::parse(text);
  const char* const name = dtype == DType::kF64   ? "float64"
                           : dtype == DType::kF32 ? "float32"
                                                  : nullptr;  // the parent's own bytes
  for (const char* key : {"dtype", "torch_dtype"})
    if (config.contains(key) && name != nullptr) config[key] = name;
  return config.dump(2) + "\n";
}

}  // namespace

Result<std::string> write_model(const fs::path& directory, const Checkpoint& parent,
                                std::span<const TensorView> weights, nlohmann::json origin) {
  ASSIGN_OR_RETURN(const std::string config, config_of(parent, weights[0].dtype));
  RETURN_IF_ERROR(write_atomically(directory / "config.json", config));
  for (const char* name : kCopied)
    if (fs::exists(parent.directory() / name))
      fs::copy_file(parent.directory() / name, directory / name);
  origin["format"] = kOriginFormat;
  origin["parents"] = {parent.model_id()};
  RETURN_IF_ERROR(write_atomically(directory / kOriginFile, origin.dump(2) + "\n"));
  // transformers reads no file that does not say whose layout it has.
  RETURN_IF_ERROR(write_safetensors(directory / "model.safetensors", weights, {{"format", "pt"}}));
  ASSIGN_OR_RETURN(const Checkpoint written,
                   Checkpoint::open(directory, {.cache_model_id = false}));
  RETURN_IF_ERROR(validate_tensors(written));
  return written.model_id();
}

Result<std::string> save_model(const Checkpoint& parent, std::span<const TensorView> weights,
                               const nlohmann::json& transform, const fs::path& directory) {
  std::string id;
  RETURN_IF_ERROR(in_new_folder(directory, "model", [&](const fs::path& partial) -> Status {
    ASSIGN_OR_RETURN(id, write_model(partial, parent, weights, {{"transform", transform}}));
    return {};
  }));
  return id;
}

Status in_new_folder(const fs::path& directory, std::string_view what,
                     const std::function<Status(const fs::path&)>& write) try {
  RETURN_IF_ERROR(check_free_for_model(directory));
  const fs::path target = directory.has_filename() ? directory : directory.parent_path();
  fs::path partial = target;
  partial += ".partial";
  fs::remove_all(partial);
  fs::create_directories(partial);
  RETURN_IF_ERROR(write(partial));
  fs::rename(partial, target);
  return {};
} catch (const std::exception& exception) {
  return fail(make_error(ErrorKind::kIo, "cannot write the {}: {}", what, exception.what())
                  .at(directory.string()));
}

Status check_free_for_model(const fs::path& directory) {
  std::error_code code;
  if (!fs::exists(directory, code)) return {};
  return fail(make_error(ErrorKind::kInvalidArgument,
                         "expected nothing where the model goes, got something")
                  .at(directory.string())
                  .with_hint("name a folder that does not exist yet"));
}

}  // namespace strata
