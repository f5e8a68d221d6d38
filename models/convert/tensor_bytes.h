// Between tensors in float32 or float64 and the bytes of safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/result.h"
#include "models/checkpoint/safetensors.h"

namespace strata {

// Tensors where they can be written from: views, and what keeps their bytes.
struct WrittenTensors {
  std::vector<TensorView> views;
  std::vector<at::Tensor> on_cpu;

  void add(const std::string& name, const at::Tensor& tensor);
};

// Into a tensor's memory, without gradients. `view` may be null. Errors: kInvalidFile at `place`
// where it has not the tensor's shape and dtype.
Status read_tensor(const TensorView* view, const std::string& name, const at::Tensor& tensor,
                   const std::filesystem::path& place);

}  // namespace strata
