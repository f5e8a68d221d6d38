// ModelId: computed from content, and remembered for files that have not changed. Internal to
// models/.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/checkpoint/hf_config.h"
#include "models/checkpoint/safetensors.h"

namespace strata {

// Tensors sorted by name. Reads every byte.
std::string compute_model_id(const Architecture& architecture,
                             std::span<const TensorView* const> tensors);

// One small file a model directory. What cannot be read, or is about other files, is as if it were
// not there; what cannot be written is not remembered. Neither is an error.
class ModelIdCache {
 public:
  // `cache_directory` empty: the default one; see OpenOptions.
  ModelIdCache(std::filesystem::path cache_directory, const std::filesystem::path& model_directory,
               const Architecture& architecture, std::span<const SafetensorsFile> files);

  std::optional<std::string> find() const;
  // Not where a file changed since it was opened, or so shortly before that its times need not show
  // another change.
  void store(const std::string& model_id) const;

 private:
  std::filesystem::path file_;  // empty: no cache
  std::string key_;             // all that the id depends on, as JSON
  std::span<const SafetensorsFile> files_;
};

}  // namespace strata
