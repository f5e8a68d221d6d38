// Checkpoint: a model directory in Hugging Face's layout (config.json, safetensors in one or
// several files), mapped.
//
// Identified by content: ModelId = SHA-256 over the architecture and every tensor it reads, in name
// order (name, dtype, shape, bytes); how tensors are spread over files, metadata and token ids do
// not matter. Opening checks files and index; validate_tensors() checks that the tensors are those
// of the architecture.
//
// With several files the index names the files; as `transformers` does, every tensor of those files
// counts, listed or not, files that no entry names are not opened, and model.safetensors goes
// before an index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "models/checkpoint/hf_config.h"
#include "models/checkpoint/safetensors.h"

namespace strata {

struct OpenOptions {
  // Remembers the id of files whose path, size, inode and times are unchanged: hashing reads every
  // byte.
  bool cache_model_id = true;
  // Where; empty: ${XDG_CACHE_HOME:-~/.cache}/strata/model_ids, no cache where neither is known.
  std::filesystem::path cache_directory;
};

// Movable; immutable after open, so that any number of threads may read. Views live as long as the
// Checkpoint.
class Checkpoint {
 public:
  // Errors: kNotFound, kIo, kInvalidFile, kUnsupported.
  static Result<Checkpoint> open(const std::filesystem::path& directory,
                                 const OpenOptions& options = {});

  const Architecture& architecture() const { return architecture_; }
  const std::filesystem::path& directory() const { return directory_; }
  const std::string& model_id() const { return model_id_; }  // 64 hexadecimal digits
  bool model_id_was_cached() const { return model_id_was_cached_; }
  std::uint64_t parameter_bytes() const;  // of all tensors in the files

  std::span<const TensorView* const> tensors() const { return tensors_; }  // sorted by name
  const TensorView* find(std::string_view name) const;                     // nullptr: not there
  // Programmer error (STRATA_CHECK) where there is no such tensor.
  const TensorView& tensor(std::string_view name) const;
  // Errors: no such tensor; another shape.
  Result<const TensorView*> require(std::string_view name,
                                    std::span<const std::int64_t> expected_shape) const;

 private:
  Checkpoint() = default;
  Status open_files();
  void identify(const OpenOptions& options);

  std::filesystem::path directory_;
  Architecture architecture_;
  std::vector<SafetensorsFile> files_;
  std::vector<const TensorView*> tensors_;
  std::string model_id_;
  bool model_id_was_cached_ = false;
};

// Every tensor of the architecture is there with the right shape in a floating-point dtype, and
// none besides that would change the computation: rotary_emb.inv_freq buffers are passed over, and
// lm_head.weight of a tied model where its bytes are the embedding's.
Status validate_tensors(const Checkpoint& checkpoint);

}  // namespace strata
